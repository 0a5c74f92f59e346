"""Recognize LeakyRelu and PRelu in the arithmetic that exporters write for them.

    x ─┬─ Mul(a) ─ Max ─ y                          becomes      x ─ LeakyRelu(a) ─ y      for 0 < a ≤ 1
       └────────────┘
    Where(x > 0, x, a·x),  Where(x < 0, a·x, x)     becomes      x ─ LeakyRelu(a) ─ y
    Relu(x) + s·Relu(-x)                            becomes      x ─ PRelu(-s) ─ y

(Maas et al., 2013; He et al., arXiv:1502.01852, equation 1.) Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import fits_attribute, keeps_rank, negative, positive

_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def _slope(p):
    return p.constant("slope", where=fits_attribute)


@rule("leaky-relu-max", fidelity="rounding")
def leaky_max(p):
    return p.Max(p.x, p.Mul(p.x, _slope(p)))


@leaky_max.require("the slope is above 0 and at most 1")
def _(m):
    return bool(((m.slope > 0) & (m.slope <= 1)).all())


@rule("leaky-relu-where", fidelity="rounding")
def leaky_where(p):
    return p.Where(positive(p, p.x), p.x, p.Mul(p.x, _slope(p)))


@rule("leaky-relu-where-not", fidelity="rounding")
def leaky_where_not(p):
    return p.Where(negative(p, p.x), p.Mul(p.x, _slope(p)), p.x)


_LEAKY = (leaky_max, leaky_where, leaky_where_not)
for one in _LEAKY:
    one.require("no constant makes the tensor larger")(lambda m: m.x.dtype in _TYPES and keeps_rank(m, m.x))
    one.replace(lambda op, m: op.LeakyRelu(m.x, alpha=float(m.slope.reshape(()))))


def _negative_part(p):
    return p.Mul(p.constant("slope"), p.Relu(p.Neg(p.x)))


@rule("prelu-add", fidelity="rounding")
def prelu_add(p):
    return p.Add(p.Relu(p.x), _negative_part(p))


@rule("prelu-sub", fidelity="rounding")
def prelu_sub(p):
    return p.Sub(p.Relu(p.x), _negative_part(p))


@prelu_add.require("the slope fits the shape of the tensor")
@prelu_sub.require("the slope fits the shape of the tensor")
def _(m):
    shape = shape_of(m.x)
    if m.x.dtype not in _TYPES or shape is None or m.slope.ndim > len(shape):
        return False
    ends = list(shape)[len(shape) - m.slope.ndim :]
    return all(size == 1 or size == whole for size, whole in zip(m.slope.shape, ends, strict=True))


@prelu_add.replace
def _(op, m):
    return op.PRelu(m.x, -m.slope)


@prelu_sub.replace
def _(op, m):
    return op.PRelu(m.x, np.array(m.slope))


@leaky_max.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Max(x, g.Mul(x, g.constant(g.pick([0.1, 0.01, 1.0])))))


@leaky_where.example
def _(g):
    x = g.input(g.shape())
    condition = g.Greater(x, g.constant(0.0)) if g.flag() else g.GreaterOrEqual(x, g.constant(0.0))
    g.output(g.Where(condition, x, g.Mul(x, g.constant(g.pick([0.1, -0.5, 2.0])))))


@leaky_where_not.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Where(g.Less(x, g.constant(0.0)), g.Mul(g.constant(g.pick([0.1, 2.0])), x), x))


def _slopes(g):
    x = g.input([g.integer(1, 2), 3, g.integer(1, 4)], static=True)
    return x, g.constant(g.normal(*g.pick([(), (1,), (3, 1), (1, 3, 1)])))


@prelu_add.example
def _(g):
    x, slope = _slopes(g)
    g.output(g.Add(g.Relu(x), g.Mul(slope, g.Relu(g.Neg(x)))))


@prelu_sub.example
def _(g):
    x, slope = _slopes(g)
    g.output(g.Sub(g.Relu(x), g.Mul(slope, g.Relu(g.Neg(x)))))


class FuseLeakyRelu(RewritePass):
    """Recognize LeakyRelu and PRelu in Max, Where and sums of two Relu."""

    name = "fuse-leaky-relu"
    rules = (*_LEAKY, prelu_add, prelu_sub)
