"""Write QLinearConv, QLinearMatMul and com.microsoft's QGemm as layers between conversions.

    x ─ QLinearConv(w, b) ─ y      becomes      x ─ DequantizeLinear ─ Conv(w·s, b·s) ─ QuantizeLinear ─ y

The bias, in steps of the scales' product (ONNX, QLinearConv-10), becomes a number at once. The conversions are then
taken as they are, or written out. com.microsoft's QLinearConv is the same with channels first or last.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule, rule
from graphopt_passes.legalize.quantized import as_float, lazy, real, scalar, whole
from graphopt_passes.scalars import rank_of

_CONTRIB = "com.microsoft"


def _floats(op, bias, first, second):
    """A bias in steps of the product of two scales, as numbers of float32."""
    tensors = [constant(one) for one in (bias, first, second)]
    if None not in tensors:
        return op.constant(lazy(tensors[0].shape.numpy(), lambda: _steps(*tensors)))
    factors = [one.astype(np.float32) if isinstance(one, np.ndarray) else one for one in (scalar(op, first), second)]
    return op.Mul(op.Cast(bias, to=int(ir.DataType.FLOAT)), op.Mul(*(as_float(op, one) for one in factors)))


def _steps(bias, first, second):
    scales = [one.numpy().astype(np.float32).reshape(-1) for one in (first, second)]
    return bias.numpy().astype(np.float32) * (scales[0] * scales[1])


def _conv(domain):
    def pattern(p):
        names = (p.x, p.sx, p.zx, p.w, p.sw, p.zw, p.sy, p.zy)
        return p.op("QLinearConv", *names, p.optional(p.b), as_="conv", domain=domain)

    made = Rule(f"quantized-conv{'-contrib' if domain else ''}", "rounding", pattern)

    @made.replace
    def _(op, m):
        last = bool(attribute(m.conv, "channels_last"))
        rank = rank_of(m.w)
        if rank is None:
            raise op.decline("the rank of its weights is not known")
        x = real(op, m.x, m.sx, m.zx)
        x = op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)]) if last else x
        bias = [] if m.b is None else [_floats(op, m.b, m.sx, m.sw)]
        y = op.Conv(x, real(op, m.w, m.sw, m.zw, 0), *bias, like=m.conv, channels_last=None)
        y = op.Transpose(y, perm=[0, *range(2, rank), 1]) if last else y
        return whole(op, y, m.sy, m.zy)

    made.example(lambda g: _conv_example(g, domain))
    return made


@rule("quantized-matmul", fidelity="rounding")
def matmul(p):
    return p.QLinearMatMul(p.a, p.sa, p.za, p.b, p.sb, p.zb, p.sy, p.zy)


@matmul.replace
def _(op, m):
    row, column = (None if (rank := rank_of(one)) is None else rank - at for one, at in ((m.a, 2), (m.b, 1)))
    return whole(op, op.MatMul(real(op, m.a, m.sa, m.za, row), real(op, m.b, m.sb, m.zb, column)), m.sy, m.zy, row)


@rule("quantized-gemm", fidelity="rounding")
def gemm(p):
    scales = (p.optional(p.c), p.optional(p.sy), p.optional(p.zy))
    return p.QGemm(p.a, p.sa, p.za, p.b, p.sb, p.zb, *scales, as_="gemm", domain=_CONTRIB)


@gemm.replace
def _(op, m):
    alpha, turned = attribute(m.gemm, "alpha"), attribute(m.gemm, "transB")
    summand = [] if m.c is None else [_floats(op, m.c, m.sa, m.sb)]
    # beta is alpha, since the summand counts in steps of the product
    y = op.Gemm(
        real(op, m.a, m.sa, m.za), real(op, m.b, m.sb, m.zb, 0 if turned else 1), *summand,
        like=m.gemm, beta=1.0 if alpha is None else float(alpha),
    )  # fmt: skip
    return y if m.sy is None else whole(op, y, m.sy, m.zy)


def _quantized(g, shape, kind):
    limits = np.iinfo(kind)
    numbers = [g.integer(limits.min, limits.max) for _ in range(int(np.prod(shape)))]
    return g.constant(np.array(numbers, kind).reshape(shape))


def _scale(g, *shape):
    return g.constant(g.positive(*shape) * np.float32(0.0137))


def _zero(g, kind, *shape):
    return g.constant(np.full(shape, g.integer(0, 100), kind))


def _conv_example(g, domain):
    inputs, outputs = g.integer(1, 3), g.integer(1, 3)
    last, wide = bool(domain) and g.flag(), [outputs] if g.flag() else []
    x = g.input([1, 5, 5, inputs] if last else [1, inputs, 5, 5], 2)
    w = [_quantized(g, [outputs, inputs, 3, 3], np.int8), _scale(g, *wide), g.constant(np.zeros(wide, np.int8))]
    bias = [g.constant(np.array([g.integer(-999, 999) for _ in range(outputs)], np.int32))] if g.flag() else []
    options = {"channels_last": 1} if last else {}
    y = [_scale(g), _zero(g, np.uint8)]
    made = g.op("QLinearConv", x, _scale(g), _zero(g, np.uint8), *w, *y, *bias, pads=[1] * 4, domain=domain, **options)
    g.output(g.Cast(made, to=g.FLOAT), 4)


@matmul.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    kind, dtype = g.pick([(np.uint8, 2), (np.int8, 3)])
    a = [g.input([*g.shape(most=2), rows, inner], dtype), _scale(g), _zero(g, kind)]
    wide = [columns] if g.flag() else []
    b = [_quantized(g, [inner, columns], kind), _scale(g, *wide), _zero(g, kind, *wide)]
    g.output(g.QLinearMatMul(*a, *b, _scale(g), _zero(g, kind)))


@gemm.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    turned, wide = int(g.flag()), [columns] if g.flag() else []
    a = [g.input([rows, inner], 2), _scale(g), _zero(g, np.uint8)]
    b = [_quantized(g, [columns, inner] if turned else [inner, columns], np.uint8), _scale(g, *wide),
         _zero(g, np.uint8, *wide)]  # fmt: skip
    c = g.constant(np.array([g.integer(-999, 999) for _ in range(columns)], np.int32)) if g.flag() else None
    y = [_scale(g), _zero(g, np.uint8)] if g.flag() else []
    made = g.QGemm(*a, *b, c, *y, transB=turned, alpha=g.pick([1.0, 0.7]), domain=_CONTRIB)
    g.output(g.Cast(made, to=g.FLOAT), 2)


class DecomposeQuantizedLayers(Substitution):
    """Write QLinearConv, QLinearMatMul and QGemm as the layer between conversions from and to integers."""

    name = "decompose-quantized-layers"
    rules = (_conv(""), _conv(_CONTRIB), matmul, gemm)
