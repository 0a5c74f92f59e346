"""Write LeakyRelu and PRelu out, for backends that lack them.

    x ─ LeakyRelu(a) ─ y      becomes      y = Relu(x) - a·Relu(-x)
    x ─ PRelu(s) ─ y          becomes      y = Relu(x) - s·Relu(-x)

Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number


@rule("write-out-leaky-relu", fidelity="rounding")
def leaky_relu(p):
    return p.LeakyRelu(p.x, alpha=p.attribute("slope"))


@rule("write-out-prelu", fidelity="rounding")
def prelu(p):
    return p.PRelu(p.x, p.slope)


def _written(op, x, slope):
    return op.Sub(op.Relu(x), op.Mul(op.Relu(op.Neg(x)), slope))


@leaky_relu.replace
def _(op, m):
    return _written(op, m.x, number(m.x, m.slope))


@prelu.replace
def _(op, m):
    return _written(op, m.x, m.slope)


for one in (leaky_relu, prelu):
    one.require("it is floating point")(lambda m: is_float(m.x))


@leaky_relu.example
def _(g):
    g.output(g.LeakyRelu(g.input(g.shape()), alpha=g.pick([0.01, 0.2])))


@prelu.example
def _(g):
    x = g.input([2, 3, g.integer(1, 4)], static=True)
    g.output(g.PRelu(x, g.constant(g.normal(*g.pick([(1,), (3, 1)])))))


class DecomposeLeakyRelu(Substitution):
    """Write LeakyRelu and PRelu out by Relu."""

    name = "decompose-leaky-relu"
    rules = (leaky_relu, prelu)
