"""Recognize the reductions that the standard has a name for.

    ReduceSum(|x|)                  becomes      ReduceL1(x)
    ReduceSum(x²)                   becomes      ReduceSumSquare(x)
    √ ReduceSum(x²)                 becomes      ReduceL2(x)
    ln ReduceSum(x)                 becomes      ReduceLogSum(x)

ln ReduceSum(exp(x)) stays: it overflows where ReduceLogSumExp does not. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import keeps_dims, reduce, reduced_axes
from graphopt_passes.scalars import keeps_rank, square

_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


def _sum(p, terms):
    return p.op("ReduceSum", terms, p.rest("axes"), as_="sum")


@rule("reduce-l1", fidelity="rounding")
def l1(p):
    return _sum(p, p.Abs(p.x))


@rule("reduce-sum-square", fidelity="rounding")
def sum_square(p):
    return _sum(p, square(p, p.x))


@rule("reduce-l2", fidelity="rounding")
def l2(p):
    squares = p.op("ReduceSumSquare", p.x, p.rest("axes"), as_="sum")
    return p.op(("Sqrt",), squares)


@rule("reduce-log-sum", fidelity="rounding")
def log_sum(p):
    return p.Log(_sum(p, p.x))


_RULES = {l1: "ReduceL1", sum_square: "ReduceSumSquare", l2: "ReduceL2", log_sum: "ReduceLogSum"}


def _known(m):
    # A reduction over no axes is the identity, and its node says so in a way that not every opset has.
    return m.x.dtype in _TYPES and bool(reduced_axes(m.sum)) and keeps_rank(m, m.x)


def _made(op_type):
    def replace(op, m):
        return reduce(op, op_type, m.x, reduced_axes(m.sum), keepdims=keeps_dims(m.sum))

    return replace


for one, made in _RULES.items():
    one.require("it is float32 or float64, and the axes are known")(_known)
    one.replace(_made(made))


def _reduce(g, kind, x):
    axes, options = g.pick([[0], [-1], [0, 1]]), {"keepdims": g.pick([0, 1])}
    if g.opset >= 18 or kind == "ReduceSum":
        return g.op(kind, x, g.constant(np.array(axes)), **options)
    return g.op(kind, x, axes=axes, **options)


def _input(g):
    return g.input(g.shape(least=2))


@l1.example
def _(g):
    g.output(_reduce(g, "ReduceSum", g.Abs(_input(g))))


@sum_square.example
def _(g):
    x = _input(g)
    g.output(_reduce(g, "ReduceSum", g.Mul(x, x) if g.flag() else g.Pow(x, g.constant(2.0))))


@l2.example
def _(g):
    g.output(g.Sqrt(_reduce(g, "ReduceSumSquare", _input(g))))


@log_sum.example
def _(g):
    g.output(g.Log(_reduce(g, "ReduceSum", g.Abs(_input(g)))))


class FuseReductions(RewritePass):
    """Recognize ReduceL1, ReduceL2, ReduceSumSquare and ReduceLogSum."""

    name = "fuse-reductions"
    rules = tuple(_RULES)
