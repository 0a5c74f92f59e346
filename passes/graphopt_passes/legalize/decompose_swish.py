"""Write Swish, Mish, Softplus and Softsign out, for backends that lack them.

    x ─ Swish(α) ─ y      becomes      y = x · Sigmoid(α·x)
    x ─ Mish ─ y          becomes      y = x · tanh(Softplus(x))
    x ─ Softplus ─ y      becomes      y = Relu(x) + ln(1 + exp(-|x|))
    x ─ Softsign ─ y      becomes      y = x / (1 + |x|)

Swish, Mish and Softsign as the ONNX standard defines them, Softplus so that nothing overflows. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number


@rule("write-out-swish", fidelity="rounding")
def swish(p):
    return p.Swish(p.x, alpha=p.attribute("alpha"))


@swish.replace
def _(op, m):
    return op.Mul(m.x, op.Sigmoid(m.x if m.alpha == 1.0 else op.Mul(m.x, number(m.x, m.alpha))))


@rule("write-out-mish", fidelity="rounding")
def mish(p):
    return p.Mish(p.x)


@mish.replace
def _(op, m):
    return op.Mul(m.x, op.Tanh(op.Softplus(m.x)))


@rule("write-out-softplus", fidelity="rounding")
def softplus(p):
    return p.Softplus(p.x)


@softplus.replace
def _(op, m):
    tail = op.Exp(op.Neg(op.Abs(m.x)))
    return op.Add(op.Relu(m.x), op.Log(op.Add(tail, number(m.x, 1))))


@rule("write-out-softsign", fidelity="rounding")
def softsign(p):
    return p.Softsign(p.x)


@softsign.replace
def _(op, m):
    return op.Div(m.x, op.Add(op.Abs(m.x), number(m.x, 1)))


_RULES = (swish, mish, softplus, softsign)
for one in _RULES:
    one.require("it is floating point")(lambda m: is_float(m.x))


@swish.example
def _(g):
    g.since(24)
    g.output(g.Swish(g.input(g.shape()), alpha=g.pick([1.0, 1.702])))


@mish.example
def _(g):
    g.since(18)
    g.output(g.Mish(g.input(g.shape())))


@softplus.example
def _(g):
    g.output(g.Softplus(g.input(g.shape())))


@softsign.example
def _(g):
    g.output(g.Softsign(g.input(g.shape())))


class DecomposeSwish(Substitution):
    """Write Swish, Mish, Softplus and Softsign out."""

    name = "decompose-swish"
    rules = _RULES
