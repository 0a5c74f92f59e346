"""A rule: multiply integer products by their scales before rather than after, for backends that compute in float.

    a, b ─ MatMulInteger(za, zb) ─ Cast ─ Mul(sa·sb) ─ y
    becomes      a, b ─ DequantizeLinear(sa, za), DequantizeLinear(sb, zb) ─ MatMul ─ y

which is how onnxruntime's quantize_dynamic writes a layer; ConvInteger likewise. Sums of products of integers leave the
range of float16, where an NPU computes, with four of them; those of the numbers that they stand for do not.
Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import constant, static_shape
from graphopt.rewrite import rule
from graphopt_passes.legalize.quantized import real
from graphopt_passes.scalars import rank_of


@rule("scale-before-product", fidelity="rounding")
def products(p):
    layer = p.op(("MatMulInteger", "ConvInteger"), p.a, p.b, p.optional(p.za), p.optional(p.zb), as_="layer")
    return p.Mul(p.Cast(layer, to=1), p.Mul(p.first, p.second, shared=True))


def _scales(m):
    """The scales of the input and of the weights: whichever has several elements, or is constant, is the latter's."""
    sizes = [None if (shape := static_shape(one)) is None else math.prod(shape) for one in (m.first, m.second)]
    if None in sizes or min(sizes) > 1:
        return None
    turned = sizes[0] > 1 or (sizes[1] == 1 and constant(m.first) is not None and constant(m.second) is None)
    return (m.second, m.first) if turned else (m.first, m.second)


@products.require("one scale is a number, and each is of the shape of its zero point")
def _(m):
    scales = _scales(m)
    if scales is None:
        return False
    wide = math.prod(static_shape(scales[1]))
    if m.layer.op_type == "ConvInteger" and wide > 1:
        return "its weights have several scales"
    if wide > 1 and rank_of(scales[1]) != 1:
        return "the scales of its weights are no vector"
    return all(
        zero is None or (static_shape(zero) is not None and math.prod(static_shape(zero)) == size)
        for zero, size in ((m.za, 1), (m.zb, wide))
    )


@products.replace
def _(op, m):
    first, second = _scales(m)
    rank = rank_of(m.b)
    a, b = real(op, m.a, first, m.za), real(op, m.b, second, m.zb, None if rank is None else rank - 1)
    if m.layer.op_type == "ConvInteger":
        return op.Conv(a, b, like=m.layer)
    return op.MatMul(a, b)


@products.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    wide = [columns] if g.flag() else []
    a, scale, zero = g.DynamicQuantizeLinear(g.input([rows, inner], finite=True), outputs=3)
    b = g.constant(np.array(g.normal(inner, columns) * 40, np.int8))
    y = g.Cast(g.MatMulInteger(a, b, zero, g.constant(np.full(wide, 3, np.int8))), to=1)
    g.output(g.Mul(y, g.Mul(scale, g.constant(g.positive(*wide)))))


@products.example
def _(g):
    x, scale, zero = g.DynamicQuantizeLinear(g.input([1, 2, 5, 5], finite=True), outputs=3)
    w = g.constant(np.array(g.normal(3, 2, 3, 3) * 40 + 90, np.uint8))
    y = g.Cast(g.ConvInteger(x, w, zero, g.constant(np.array(90, np.uint8)), pads=[1] * 4), to=1)
    g.output(g.Mul(y, g.Mul(scale, g.constant(g.positive()))))
