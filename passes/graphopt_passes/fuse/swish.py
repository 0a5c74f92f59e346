"""Recognize Swish, Mish and Softsign in the arithmetic that exporters write for them.

    x · Sigmoid(α·x)                becomes      x ─ Swish(α) ─ y        from opset 24 on
    x · tanh(ln(1 + exp(x)))        becomes      x ─ Mish ─ y            from opset 18 on
    x / (1 + |x|)                   becomes      x ─ Softsign ─ y

(Ramachandran et al., arXiv:1710.05941; Misra, arXiv:1908.08681.) Where exp(x) overflows, ln(1 + exp(x)) alone is not
Softplus, but its tanh is 1 either way. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir.edit import opset_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import fits_attribute, is_float, keeps_rank, plus

_SWISH_SINCE = 24
_MISH_SINCE = 18


def _since(version: int):
    return lambda m: opset_of(m.root.graph) >= version


@rule("swish", fidelity="rounding")
def swish(p):
    return p.Mul(p.x, p.Sigmoid(p.either(p.x, p.Mul(p.x, p.constant("alpha", where=fits_attribute)))))


swish.require("the opset has Swish")(_since(_SWISH_SINCE))


@swish.replace
def _(op, m):
    return op.Swish(m.x, alpha=float(m.alpha.reshape(())) if "alpha" in m else None)


@rule("mish", fidelity="rounding")
def mish(p):
    return p.Mul(p.x, p.Tanh(p.either(p.Softplus(p.x), p.Log(plus(p, p.Exp(p.x), 1.0)))))


mish.require("the opset has Mish")(_since(_MISH_SINCE))


@mish.replace
def _(op, m):
    return op.Mish(m.x)


@rule("softsign", fidelity="rounding")
def softsign(p):
    return p.Div(p.x, plus(p, p.Abs(p.x), 1.0))


@softsign.replace
def _(op, m):
    return op.Softsign(m.x)


for one in (swish, mish, softsign):
    one.require("no constant makes the tensor larger, and it is floating point")(
        lambda m: is_float(m.x) and keeps_rank(m, m.x)
    )


@swish.example
def _(g):
    g.since(_SWISH_SINCE)
    x = g.input(g.shape())
    g.output(g.Mul(x, g.Sigmoid(x if g.flag() else g.Mul(x, g.constant(1.702)))))


@mish.example
def _(g):
    g.since(_MISH_SINCE)
    x = g.input(g.shape())
    g.output(g.Mul(x, g.Tanh(g.Softplus(x) if g.flag() else g.Log(g.Add(g.Exp(x), g.constant(1.0))))))


@softsign.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Div(x, g.Add(g.constant(1.0), g.Abs(x))))


class FuseSwish(RewritePass):
    """Recognize Swish, Mish and Softsign in products and quotients."""

    name = "fuse-swish"
    rules = (swish, mish, softsign)
