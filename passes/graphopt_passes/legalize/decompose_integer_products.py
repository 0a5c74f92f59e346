"""Compute products of quantized numbers in float, for backends that lack integer products.

    a, b ─ MatMulInteger(za, zb) ─ y            becomes      y = Cast(MatMul(Cast(a) - za, Cast(b) - zb))
    x, w ─ ConvInteger(zx, zw) ─ y              becomes      y = Cast(Conv(Cast(x) - zx, Cast(w) - zw))
    a, b ─ MatMulIntegerToFloat(sa, sb) ─ y     becomes      y = MatMul(DequantizeLinear(a), DequantizeLinear(b)) + bias
    a, b ─ DynamicQuantizeMatMul(sb) ─ y        becomes      the same of DynamicQuantizeLinear(a)

The last two and MatMulInteger16 are com.microsoft's. Products of 8-bit numbers are exact in float while their sums
stay below 2²⁴, that is up to 258 of the largest; beyond, they are rounded. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.quantized import as_float, real, scalar
from graphopt_passes.scalars import rank_of

_INT32, _FLOAT = int(ir.DataType.INT32), int(ir.DataType.FLOAT)
_CONTRIB = "com.microsoft"


@rule("integer-matmul-in-float", fidelity="rounding")
def matmul(p):
    return p.MatMulInteger(p.a, p.b, p.optional(p.za), p.optional(p.zb))


@matmul.replace
def _(op, m):
    return op.Cast(op.MatMul(_centered(op, m.a, m.za, -2), _centered(op, m.b, m.zb, -1)), to=_INT32)


def _centered(op, x, zero, axis):
    """x - zero in float; a zero point of several elements goes along the last axis, or the one before."""
    tensor = constant(x)
    if tensor is not None and (zero is None or constant(zero) is not None):
        array = tensor.numpy().astype(np.float32)
        return array if zero is None else array - _column(constant(zero).numpy().astype(np.float32), axis)
    value = op.Cast(x, to=_FLOAT)
    if zero is None or (constant(zero) is not None and not constant(zero).numpy().any()):
        return value
    offset = scalar(op, zero)
    rank = 0 if isinstance(offset, np.ndarray) else rank_of(zero)
    if rank is None:
        raise op.decline("the rank of a zero point is not known")
    offset = as_float(op, offset)
    if rank == 1 and axis == -2:
        offset = op.Reshape(offset, np.array([-1, 1], np.int64))
    return op.Sub(value, offset)


def _column(array, axis):
    return array.reshape(-1, 1) if array.ndim == 1 and array.size > 1 and axis == -2 else array


@rule("integer-conv-in-float", fidelity="rounding")
def conv(p):
    return p.ConvInteger(p.x, p.w, p.optional(p.zx), p.optional(p.zw), as_="conv")


@conv.replace
def _(op, m):
    if m.zx is not None and (rank_of(m.zx) or 0) > 0 and shape_of(m.zx) != ir.Shape([1]):
        raise op.decline("its input has several zero points")
    x = _centered(op, m.x, m.zx, -1)
    return op.Cast(op.Conv(x, _kernels(op, m.w, m.zw), like=m.conv), to=_INT32)


def _kernels(op, w, zero):
    """The weights less their zero point, which is one or one for each output channel."""
    offset = None if zero is None else constant(zero)
    if zero is None or offset is not None:
        tensor = constant(w)
        value = op.Cast(w, to=_FLOAT) if tensor is None else tensor.numpy().astype(np.float32)
        if offset is None or not offset.numpy().any():
            return value
        less = offset.numpy().astype(np.float32)
        less = less.reshape(-1, *[1] * (rank_of(w) - 1)) if less.size > 1 else less.reshape(())
        return value - less if tensor is not None else op.Sub(value, less)
    raise op.decline("the zero point of its weights is computed at run time")


@rule("short-matmul-in-float", fidelity="rounding")
def short(p):
    return p.MatMulInteger16(p.a, p.b, domain=_CONTRIB)


@short.replace
def _(op, m):
    return op.Cast(op.MatMul(_centered(op, m.a, None, -2), _centered(op, m.b, None, -1)), to=_INT32)


@rule("scaled-matmul-in-float", fidelity="rounding")
def scaled(p):
    return p.MatMulIntegerToFloat(
        p.a, p.b, p.sa, p.sb, p.optional(p.za), p.optional(p.zb), p.optional(p.bias), domain=_CONTRIB
    )


@scaled.replace
def _(op, m):
    return _product(op, real(op, m.a, m.sa, m.za), m)


@rule("dynamic-matmul-in-float", fidelity="rounding")
def dynamic(p):
    return p.DynamicQuantizeMatMul(p.a, p.b, p.sb, p.optional(p.zb), p.optional(p.bias), domain=_CONTRIB)


@dynamic.replace
def _(op, m):
    return _product(op, op.DequantizeLinear(*op.DynamicQuantizeLinear(m.a, outputs=3)), m)


def _product(op, a, m):
    rank = rank_of(m.b)
    product = op.MatMul(a, real(op, m.b, m.sb, m.zb, None if rank is None else rank - 1))
    return product if m.bias is None else op.Add(product, m.bias)


_KINDS = ((2, np.uint8, 0, 255), (3, np.int8, -127, 127))


def _numbers(g, shape, kind, low, high):
    return g.constant(np.array([g.integer(low, high) for _ in range(int(np.prod(shape)))], kind).reshape(shape))


@matmul.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    one, kind = g.pick(((2, np.uint8), (3, np.int8)))
    b = _numbers(g, [inner, columns], *g.pick(_KINDS)[1:]) if (fixed := g.flag()) else g.input([inner, columns], one)
    za = g.constant(np.array(g.integer(0, 100), kind)) if g.flag() else None
    more = [za, g.constant(np.full(g.pick([(), (columns,)]), 3, kind))] if g.flag() and not fixed else [za]
    g.output(g.MatMulInteger(g.input([*g.shape(most=2), rows, inner], one), b, *more))


@conv.example
def _(g):
    inputs, outputs = g.integer(1, 3), g.integer(1, 3)
    w = _numbers(g, [outputs, inputs, 3, 3], np.uint8, 0, 255)
    more = [g.constant(np.array(g.integer(0, 200), np.uint8)) for _ in range(g.integer(0, 2))]
    g.output(g.ConvInteger(g.input([1, inputs, 5, 5], 2), w, *more, pads=[1] * 4))


@short.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    y = g.MatMulInteger16(g.input([rows, inner], 5), g.input([inner, columns], 5), domain=_CONTRIB)
    g.output(g.Cast(y, to=g.FLOAT), 2)


def _scales(g, columns):
    return g.constant(g.positive(*g.pick([[], [columns]])) * np.float32(0.013))


@scaled.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    kind = g.pick(_KINDS)
    b, sb = _numbers(g, [inner, columns], *_KINDS[1][1:]), _scales(g, columns)
    za = g.constant(np.array(g.integer(0, 100), kind[1])) if g.flag() else None
    bias = [None, g.constant(g.normal(columns))] if g.flag() else []
    sa = g.constant(g.positive() * np.float32(0.021))
    g.output(g.MatMulIntegerToFloat(g.input([rows, inner], kind[0]), b, sa, sb, za, *bias, domain=_CONTRIB), 2)


@dynamic.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    b, sb = _numbers(g, [inner, columns], *g.pick(_KINDS)[1:]), _scales(g, columns)
    bias = [None, g.constant(g.normal(columns))] if g.flag() else []
    a = g.input([rows, inner], finite=True)
    g.output(g.DynamicQuantizeMatMul(a, b, sb, *bias, domain=_CONTRIB), 2)


class DecomposeIntegerProducts(Substitution):
    """Compute MatMulInteger, ConvInteger and com.microsoft's kin in float."""

    name = "decompose-integer-products"
    rules = (matmul, conv, short, scaled, dynamic)
