"""Join Slices where the parts of a Split are joined in another order, for SNPE.

    x[56] ─ Split(3, 53) ┬──╲╱─ Concat ─ y              x ─┬─ Slice(3:56) ─ Concat ─ y
                         └──╱╲─────┘        becomes        └─ Slice(0:3) ────┘

So exporters write a roll, as Swin Transformers do along two axes. onnxruntime-qnn 2.7.0 computes the second of two such
rolls wrongly: -2.6 dB SQNR in HTP emulation, against 62 dB by Slices. Fidelity: exact.
"""

from __future__ import annotations

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import slice_by
from graphopt_passes.canonicalize.merge_splits import piece


@rule("roll-by-slices", fidelity="exact")
def slices(p):
    return p.op("Concat", p.rest("parts"))


@slices.require("all parts are of one Split")
def _(m):
    makers = {part.producer() for part in m.parts}
    return len(makers) == 1 and len(m.parts) > 1 and all(n is not None and n.op_type == "Split" for n in makers)


@slices.replace
def _(op, m):
    cut = []
    for part in m.parts:
        known = piece(part)
        if known is None:
            raise op.decline("the sizes are not known")
        whole, axis, positions = known
        cut.append(slice_by(op, whole, {axis: (positions.start, positions.stop, 1)}))
    return op.Concat(*cut, axis=m.root.attributes["axis"].as_int())


@slices.example
def _(g):
    x = g.Neg(g.input([2, 7], static=True))
    parts = g.op("Split", x, g.constant([3, 4]), outputs=2, axis=1)
    g.output(g.Concat(*reversed(parts), axis=g.pick([1, -1])))


class RollBySlices(RewritePass):
    """Join Slices where the parts of a Split are joined in another order, which SNPE computes rightly."""

    name = "roll-by-slices"
    rules = (slices,)
