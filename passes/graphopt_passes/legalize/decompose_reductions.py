"""Write the rarer reductions out by ReduceSum and ReduceMax, for backends that lack them.

    ReduceL1(x)             becomes      ReduceSum(|x|)
    ReduceSumSquare(x)      becomes      ReduceSum(x²)
    ReduceL2(x)             becomes      √ ReduceSum(x²)
    ReduceLogSum(x)         becomes      ln ReduceSum(x)
    ReduceLogSumExp(x)      becomes      m + ln ReduceSum(exp(x - m)) with m = ReduceMax(x), made finite

Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import keeps_dims, reduce, reduced_axes
from graphopt_passes.scalars import is_float, number

_BOUNDS_AS_INPUT = 11
"""Opset from which the bounds of Clip are inputs."""


def _rule(op_type, name):
    return rule(f"write-out-{name}", fidelity="rounding")(lambda p: p.op(op_type, p.x, p.rest("axes")))


l1, sum_square, l2 = _rule("ReduceL1", "l1"), _rule("ReduceSumSquare", "sum-square"), _rule("ReduceL2", "l2")
log_sum, log_sum_exp = _rule("ReduceLogSum", "log-sum"), _rule("ReduceLogSumExp", "log-sum-exp")
_RULES = {
    l1: "ReduceL1", sum_square: "ReduceSumSquare", l2: "ReduceL2", log_sum: "ReduceLogSum",
    log_sum_exp: "ReduceLogSumExp",
}  # fmt: skip

for one in _RULES:
    one.require("it is floating point, and its axes are known")(lambda m: is_float(m.x) and bool(reduced_axes(m.root)))


def _sum(op, m, terms):
    return reduce(op, "ReduceSum", terms, reduced_axes(m.root), keepdims=keeps_dims(m.root))


@l1.replace
def _(op, m):
    return _sum(op, m, op.Abs(m.x))


@sum_square.replace
def _(op, m):
    return _sum(op, m, op.Mul(m.x, m.x))


@l2.replace
def _(op, m):
    return op.Sqrt(_sum(op, m, op.Mul(m.x, m.x)))


@log_sum.replace
def _(op, m):
    return op.Log(_sum(op, m, m.x))


@log_sum_exp.replace
def _(op, m):
    axes = reduced_axes(m.root)
    highest = _finite(op, m, reduce(op, "ReduceMax", m.x, axes))
    total = op.Log(_sum(op, m, op.Exp(op.Sub(m.x, highest))))
    # The maximum is needed in both shapes, so where the axes go it is taken twice.
    lowered = highest if keeps_dims(m.root) else _finite(op, m, reduce(op, "ReduceMax", m.x, axes, keepdims=False))
    return op.Add(total, lowered)


def _finite(op, m, value):
    """The nearest finite number: an infinite one less itself would be NaN."""
    most = float(m.x.dtype.max)
    if op.opset >= _BOUNDS_AS_INPUT:
        return op.Clip(value, number(m.x, -most), number(m.x, most))
    return op.Clip(value, min=-most, max=most)


def _example(one, op_type):
    @one.example
    def _(g):
        # a maximum among NaN and infinities is what the runtime makes of it: ReduceLogSumExp is written out for numbers
        x = g.input(g.shape(least=2), finite=op_type == "ReduceLogSumExp")
        axes, options = g.pick([[0], [-1], [0, 1]]), {"keepdims": g.pick([0, 1])}
        x = g.Abs(x) if op_type == "ReduceLogSum" else x
        more = [g.constant(np.array(axes))] if g.opset >= 18 else []
        g.output(g.op(op_type, x, *more, **options, **({} if more else {"axes": axes})))


for one, kind in _RULES.items():
    _example(one, kind)


class DecomposeReductions(Substitution):
    """Write ReduceL1, L2, SumSquare, LogSum and LogSumExp out."""

    name = "decompose-reductions"
    rules = tuple(_RULES)
