"""Write Swish, Mish, Softplus and Softsign out, for backends that lack them.

    x ─ Swish(α) ─ y      becomes      y = x · Sigmoid(α·x)
    x ─ Mish ─ y          becomes      y = x · (1 + 2e) / (1 + 2e + 2e²) where x ≥ 0, x · (e² + 2e) / (e² + 2e + 2) else
    x ─ Softplus ─ y      becomes      y = Relu(x) + ln(1 + e)
    x ─ Softsign ─ y      becomes      y = x / (1 + |x|)

with e = exp(-min(|x|, 87)). Swish and Softsign are as the ONNX standard defines them; Mish, x · tanh(Softplus(x)), and
Softplus so that nothing overflows or cancels. HTP's exponential is wrong below -88, hence the bound; the x in front is
bounded by -87, too, and what either changes is below 1e-35. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_LOWEST = 87.0
"""exp(-87) is the last that is a normal float32."""


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
    x = m.x
    one, two = number(x, 1), number(x, 2)
    e = _exponential(op, x)
    square, double = op.Mul(e, e), op.Mul(e, two)
    high, low = op.Add(double, one), op.Add(square, double)
    above = op.Div(high, op.Add(high, op.Mul(square, two)))
    below = op.Div(low, op.Add(low, two))
    return op.Mul(op.Max(x, number(x, -_LOWEST)), op.Where(op.Less(x, number(x, 0)), below, above))


def _exponential(op, x):
    """exp(-|x|), no further than it is a normal number."""
    return op.Exp(op.Neg(op.Min(op.Abs(x), number(x, _LOWEST))))


@rule("write-out-softplus", fidelity="rounding")
def softplus(p):
    return p.Softplus(p.x)


@softplus.replace
def _(op, m):
    return op.Add(op.Relu(m.x), op.Log(op.Add(_exponential(op, m.x), number(m.x, 1))))


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
    # Bounded: onnxruntime makes NaN of -∞, where the limit is 0; an output wholly below 1e-35 is no signal to compare.
    g.output(g.Mish(g.Mul(g.Tanh(g.input(g.shape())), g.constant(g.pick([1.0, 10.0, 80.0])))))


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
