"""Write out the steps of an LSTM, GRU or RNN so that a runtime that computes in fp16 keeps its precision.

    x ─ LSTM ─ y      becomes      the steps as `unroll-recurrent` writes them, with c' = c + (i ∘ g - u ∘ c), u = 1 - f

For backends that take these layers, and compute them badly; see `cells` for the formulas and what was measured. A
model whose layers take more steps than `steps` stays as it is. Fidelity: rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.edit import nodes_of, owners
from graphopt.ir.infer import dims_of, infer_shapes
from graphopt.ir.schema import attribute
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt_passes.legalize.decompose_recurrent import DecomposeRecurrent
from graphopt_passes.legalize.recurrent import OUTPUTS, text
from graphopt_passes.legalize.unroll_recurrent import unrolling


class UnrollRecurrentForHalf(RewritePass):
    """Write out LSTM, GRU and RNN in a form for fp16."""

    name = "unroll-recurrent-for-half"
    rules = (*unrolling("unroll-for-half", half=True), *DecomposeRecurrent.rules)

    @dataclass(frozen=True)
    class Options:
        """How far to go."""

        steps: int = 1024
        """Steps that all layers may take together; each becomes some 20 nodes, and 500 of them compile in minutes."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`; shapes are proven first."""
        infer_shapes(model)
        taken = list(_steps(model))
        if not taken or None in taken:
            return PassResult(0, "the number of steps is not known" if taken else "")
        total = sum(one for one in taken if one is not None)
        if total > self.options.steps:
            return PassResult(0, f"{total} steps are more than {self.options.steps}")
        return super().run(model, context)


def _steps(model: ir.Model) -> Iterator[int | None]:
    """Steps of every layer, both directions together."""
    for owner in owners(model):
        for node in nodes_of(owner):
            if node.op_type in OUTPUTS and not node.domain:
                dims = dims_of(node.inputs[0])
                steps = dims[1 if attribute(node, "layout") else 0].number if dims is not None else None
                yield None if steps is None else steps * (2 if text(node, "direction") == "bidirectional" else 1)
