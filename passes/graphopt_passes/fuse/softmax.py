"""Recognize Softmax and LogSoftmax in the arithmetic that exporters write for them.

    x ─┬─ Sub ─ Exp ─┬─ Div ─ y                    becomes      x ─ Softmax ─ y
       └─ max ┘      └─ sum ┘

    x ─┬─ Sub ─┬─────────────────── Sub ─ y        becomes      x ─ LogSoftmax ─ y
       └─ max ┘└─ Exp ─ sum ─ Log ──┘

over one axis, before opset 13 the last one. Without the maximum nothing happens: exp(x) overflows where Softmax does
not, so the two differ. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import keeps_dims, reduced_axes
from graphopt_passes.scalars import is_float, rank_of

_ONE_AXIS_SINCE = 13
"""Opset from which Softmax goes over one axis; before, over all from its axis on."""


def _shifted(p):
    return p.Sub(p.x, p.op("ReduceMax", p.x, p.rest("max_axes"), as_="highest"))


def _sum(p, terms):
    return p.op("ReduceSum", terms, p.rest("sum_axes"), as_="sum")


@rule("softmax", fidelity="rounding")
def softmax(p):
    terms = p.Exp(_shifted(p))
    return p.Div(terms, _sum(p, terms))


@rule("log-softmax", fidelity="rounding")
def log_softmax(p):
    shifted = _shifted(p)
    terms = p.Exp(shifted)
    named = p.op("ReduceLogSum", terms, p.rest("sum_axes"), as_="sum")
    return p.Sub(shifted, p.either(p.Log(_sum(p, terms)), named))


@softmax.require("maximum and sum go over the same axis and keep it")
@log_softmax.require("maximum and sum go over the same axis and keep it")
def _(m):
    axes, rank = reduced_axes(m.highest), rank_of(m.x)
    if not is_float(m.x) or axes is None or len(axes) != 1 or axes != reduced_axes(m.sum):
        return False
    single = opset_of(m.root.graph) >= _ONE_AXIS_SINCE
    return keeps_dims(m.highest) and keeps_dims(m.sum) and (single or axes == (rank - 1,))


@softmax.replace
def _(op, m):
    return op.Softmax(m.x, axis=reduced_axes(m.sum)[0])


@log_softmax.replace
def _(op, m):
    return op.LogSoftmax(m.x, axis=reduced_axes(m.sum)[0])


def _parts(g):
    x = g.input(g.shape(least=1), static=True)
    highest = g.ReduceMax(x, axes=[-1]) if g.opset < 18 else g.ReduceMax(x, g.constant(np.array([-1])))
    return g.Sub(x, highest)


def _total(g, terms):
    return g.ReduceSum(terms, g.constant(np.array([-1])))


@softmax.example
def _(g):
    terms = g.Exp(_parts(g))
    g.output(g.Div(terms, _total(g, terms)))


@log_softmax.example
def _(g):
    shifted = _parts(g)
    terms = g.Exp(shifted)
    if g.opset >= 18 and g.flag():
        g.output(g.Sub(shifted, g.ReduceLogSum(terms, g.constant(np.array([-1])))))
    else:
        g.output(g.Sub(shifted, g.Log(_total(g, terms))))


class FuseSoftmax(RewritePass):
    """Recognize Softmax and LogSoftmax in maxima, exponentials and sums."""

    name = "fuse-softmax"
    rules = (softmax, log_softmax)
