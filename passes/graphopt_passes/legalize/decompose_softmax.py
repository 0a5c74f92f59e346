"""Write Softmax and LogSoftmax out, for backends that lack them.

    x ─ LogSoftmax ─ y      becomes      d = x - max(x),  y = d - ln Σ exp(d)
    x ─ Softmax ─ y         becomes      e = exp(x - max(x)),  y = e / Σ e

Before opset 13 they go over all axes from theirs on, as does what is written then. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.scalars import is_float, rank_of

_ONE_AXIS_SINCE = 13


@rule("write-out-softmax", fidelity="rounding")
def softmax(p):
    return p.Softmax(p.x, axis=p.attribute("axis"))


@rule("write-out-log-softmax", fidelity="rounding")
def log_softmax(p):
    return p.LogSoftmax(p.x, axis=p.attribute("axis"))


for one in (softmax, log_softmax):
    one.require("it is floating point of known rank")(lambda m: is_float(m.x) and bool(rank_of(m.x)))


def _axes(op, m) -> list[int]:
    rank = rank_of(m.x)
    first = m.axis % rank
    return [first] if op.opset >= _ONE_AXIS_SINCE else list(range(first, rank))


def _shifted(op, m):
    return op.Sub(m.x, reduce(op, "ReduceMax", m.x, _axes(op, m)))


@softmax.replace
def _(op, m):
    terms = op.Exp(_shifted(op, m))
    return op.Div(terms, reduce(op, "ReduceSum", terms, _axes(op, m)))


@log_softmax.replace
def _(op, m):
    shifted = _shifted(op, m)
    return op.Sub(shifted, op.Log(reduce(op, "ReduceSum", op.Exp(shifted), _axes(op, m))))


@softmax.example
def _(g):
    g.output(g.Softmax(g.input(g.shape(least=1)), axis=g.pick([-1, 0])))


@log_softmax.example
def _(g):
    g.output(g.LogSoftmax(g.input(g.shape(least=1)), axis=g.pick([-1, 0])))


class DecomposeSoftmax(Substitution):
    """Write Softmax and LogSoftmax out by maxima, exponentials and sums."""

    name = "decompose-softmax"
    rules = (softmax, log_softmax)
