"""Run onnxsim, the ONNX simplifier, as one pass.

    model ─ onnxsim.simplify ─ model

It is not part of any default recipe. What it changes that is not its to change (it drops inputs that have a default)
breaks the signature, and the manager takes it back. Fidelity: rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.errors import PassError
from graphopt.ir import count_nodes, load, to_bytes
from graphopt.ir.io import INLINE_LIMIT, weight_bytes
from graphopt.pipeline import Context, Pass, PassResult


class Onnxsim(Pass):
    """Run onnxsim, the ONNX simplifier, as one pass."""

    name = "onnxsim"
    fidelity = "rounding"

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Simplify a copy; the model's metadata, which onnxsim drops, are kept."""
        import onnx
        import onnxsim

        if weight_bytes(model) > INLINE_LIMIT:
            raise PassError("onnxsim cannot take a model with this many weights in memory")
        before = onnx.ModelProto.FromString(to_bytes(model))
        after, _ = onnxsim.simplify(before)
        if after.SerializeToString(deterministic=True) == before.SerializeToString(deterministic=True):
            return PassResult(0)
        made = load(after)
        made.metadata_props.update(model.metadata_props)
        made.graph.metadata_props.update(model.graph.metadata_props)
        nodes = count_nodes(model), count_nodes(made)
        return PassResult(max(1, nodes[0] - nodes[1]), f"{nodes[0]} nodes to {nodes[1]}", model=made)
