"""Bring a quantized model into the form that compilers read: float operators between conversions.

    q ─ QLinearAdd(r) ─ MaxPool ─ y      becomes      q, r ─ [DQ ─ Add ─ Q] ─ [DQ ─ MaxPool ─ Q] ─ y

with DQ and Q for DequantizeLinear and QuantizeLinear.
What onnxruntime's quantizer writes as operators of quantized numbers goes, as do integer products that are scaled
behind. An operator that only moves quantized numbers, or takes the largest, does the same between the conversions of
the scale that they have. It looks at whole models, since a conversion is judged by what stands beside it.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_quantized_functions import DecomposeQuantizedFunctions
from graphopt_passes.legalize.decompose_quantized_layers import DecomposeQuantizedLayers
from graphopt_passes.legalize.scale_before_products import products
from graphopt_passes.scalars import rank_of

_MOVES = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
)  # fmt: skip


@rule("move-real-numbers", fidelity="rounding")
def moved(p):
    quantized = p.QuantizeLinear(p.x, p.scale, p.optional(p.zero), as_="quantize", shared=True)
    return p.op(_MOVES, quantized, p.rest("others"), as_="move")


@moved.require("it has one output, and numbers of one scale")
def _(m):
    return len(m.move.outputs) == 1 and rank_of(m.scale) == 0


@moved.replace
def _(op, m):
    zero = [] if m.zero is None else [m.zero]
    numbers = op.DequantizeLinear(m.quantize.outputs[0], m.scale, *zero)
    made = op.op(m.move.op_type, numbers, *m.others, like=m.move)
    return op.QuantizeLinear(made, m.scale, *zero, like=m.quantize)


@moved.example
def _(g):
    scale, zero = g.constant(np.float32(0.037)), g.constant(np.array(7, g.pick([np.uint8, np.int8])))
    x = g.QuantizeLinear(g.input([1, 2, 4, 4], finite=True), scale, zero)
    kinds = [("Transpose", {"perm": [0, 2, 3, 1]}), ("Flatten", {})]
    kind, options = g.pick([*kinds, ("MaxPool", {"kernel_shape": [2, 2]})])
    g.output(g.DequantizeLinear(g.op(kind, x, **options), scale, zero))


class QdqForm(RewritePass):
    """Bring a quantized model into the form of float operators between conversions."""

    name = "qdq-form"
    rules = (*DecomposeQuantizedLayers.rules, *DecomposeQuantizedFunctions.rules, products, moved)
