"""Compute in float whatever a model computes in double, for runtimes that have no double.

    x ─ Cast(double) ─ Mul ─ Add ─ Cast(float) ─ y      becomes      x ─ Mul ─ Add ─ y

Each operator on doubles gets Casts around it, and the Casts between two of them go; inputs and outputs of the model
keep their type, with a Cast at the border. Numbers beyond 3.4e38 become infinite, and what relied on more than seven
digits loses them. Fidelity: rounding.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_casts import merge
from graphopt_passes.legalize.compute_in_wider_type import FLOAT_OPERATORS
from graphopt_passes.legalize.recast import changed, computed_as

_MOVEMENT = (
    "Compress", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad",
    "Range", "Reshape", "ReverseSequence", "ScatterElements", "ScatterND", "Slice", "Squeeze", "Tile", "Transpose",
    "Trilu", "Unsqueeze",
)  # fmt: skip


@rule("float-for-double", fidelity="rounding")
def narrow(p):
    return p.op((*FLOAT_OPERATORS, *_MOVEMENT), p.rest("inputs"))


@narrow.require("it computes in double, and only its first output is read")
def _(m):
    others = m.root.outputs[1:]
    alone = not any(is_read(value) or value.is_graph_output() for value in others)
    return alone and computed_as(m.root, (ir.DataType.DOUBLE,)) is not None


@narrow.replace
def _(op, m):
    return changed(op, m.root, ir.DataType.DOUBLE, ir.DataType.FLOAT)[0]


@narrow.example
def _(g):
    x = g.Cast(g.Tanh(g.input(g.shape())), to=g.DOUBLE)
    y = g.op(g.pick(["Sin", "Neg", "Exp"]), g.Transpose(x))
    g.output(g.Cast(y, to=g.FLOAT) if g.flag() else y)


class NarrowDoubles(RewritePass):
    """Compute in float what a model computes in double."""

    name = "narrow-doubles"
    rules = (narrow, merge)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`; the types must be known before."""
        infer_shapes(model)
        return super().run(model, context)
