"""Take operators of any number of inputs two at a time, for backends that take two.

    Sum(a, b, c)     becomes      Add(Add(a, b), c), and in the same way Max and Min
    Mean(a, b, c)    becomes      (a + b + c) / 3
    Max(a)           becomes      a, and in the same way Min, Sum and Mean

Max and Min of two stay as they are. The mean is taken of the inputs divided first, so that nothing overflows that the
result does not. Fidelity: exact for Max and Min, rounding for sums.
"""

from __future__ import annotations

import functools

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number


@rule("two-at-a-time", fidelity="exact")
def extreme(p):
    return p.op(("Max", "Min"), p.x, p.rest("others"))


@extreme.require("it has one input, or more than two")
def _(m):
    return len(m.others) != 1


@extreme.replace
def _(op, m):
    if not m.others:
        return op.Identity(m.x)
    return functools.reduce(lambda a, b: op.op(m.root.op_type, a, b), m.others, m.x)


@rule("add-up", fidelity="rounding")
def total(p):
    return p.Sum(p.x, p.rest("others"))


@total.replace
def _(op, m):
    return functools.reduce(op.Add, m.others, m.x) if m.others else op.Identity(m.x)


@rule("add-up-shares", fidelity="rounding")
def mean(p):
    return p.Mean(p.x, p.rest("others"))


@mean.require("it is floating point")
def _(m):
    return is_float(m.x)


@mean.replace
def _(op, m):
    if not m.others:
        return op.Identity(m.x)
    share = number(m.x, 1 / (1 + len(m.others)))
    return functools.reduce(op.Add, [op.Mul(one, share) for one in (m.x, *m.others)])


def _inputs(g, counts):
    shape = g.shape()
    return [g.input(shape) for _ in range(g.pick(counts))]


@extreme.example
def _(g):
    g.output(g.op(g.pick(["Max", "Min"]), *_inputs(g, [1, 3, 4])))


@total.example
def _(g):
    g.output(g.Sum(*_inputs(g, [1, 2, 3, 4])))


@mean.example
def _(g):
    g.output(g.Mean(*_inputs(g, [1, 2, 3])))


class DecomposeMany(Substitution):
    """Take Max, Min, Sum and Mean of many inputs two at a time."""

    name = "decompose-many"
    rules = (extreme, total, mean)
