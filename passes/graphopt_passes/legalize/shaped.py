"""A substitution whose rules ask for shapes: run by itself, it has them proven first."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.infer import infer_shapes
from graphopt.legalize import Substitution
from graphopt.pipeline import Context, PassResult


class ShapedSubstitution(Substitution):
    """A Substitution that begins with shape inference, as the legalizer does for all."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`."""
        infer_shapes(model)
        return super().run(model, context)
