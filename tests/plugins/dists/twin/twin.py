"""A plugin that took a name that graphopt has already."""

from graphopt.pipeline import Pass, PassResult


class FuseConvBN(Pass):
    """Not the one you know."""

    name = "fuse-conv-bn"
    fidelity = "exact"

    def run(self, model, context):
        return PassResult(0, "the twin was here")
