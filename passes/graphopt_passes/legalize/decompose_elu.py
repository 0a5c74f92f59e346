"""Write Elu, Celu and Selu out, for backends that lack them.

    x ─ Elu(α) ─ y          becomes      y = Relu(x) + α·(exp(Min(x, 0)) - 1)
    x ─ Celu(α) ─ y         becomes      y = Relu(x) + α·(exp(Min(x, 0)/α) - 1)
    x ─ Selu(α, γ) ─ y      becomes      y = γ · Elu(x, α)

as the ONNX standard defines them, with the Min inside so that nothing overflows: -Relu(-x). Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number


def _written(op, x, alpha: float, steep: float = 1.0):
    low = op.Neg(op.Relu(op.Neg(x)))
    low = low if steep == 1.0 else op.Div(low, number(x, steep))
    curve = op.Sub(op.Exp(low), number(x, 1))
    return op.Add(op.Relu(x), curve if alpha == 1.0 else op.Mul(curve, number(x, alpha)))


@rule("write-out-elu", fidelity="rounding")
def elu(p):
    return p.Elu(p.x, alpha=p.attribute("alpha"))


@elu.replace
def _(op, m):
    return _written(op, m.x, m.alpha)


@rule("write-out-celu", fidelity="rounding")
def celu(p):
    return p.Celu(p.x, alpha=p.attribute("alpha", where=lambda alpha: alpha > 0))


@celu.replace
def _(op, m):
    return _written(op, m.x, m.alpha, m.alpha)


@rule("write-out-selu", fidelity="rounding")
def selu(p):
    return p.Selu(p.x, alpha=p.attribute("alpha"), gamma=p.attribute("gamma"))


@selu.replace
def _(op, m):
    return op.Mul(op.Elu(m.x, alpha=m.alpha), number(m.x, m.gamma))


_RULES = (elu, celu, selu)
for one in _RULES:
    one.require("it is floating point")(lambda m: is_float(m.x))


@elu.example
def _(g):
    g.output(g.Elu(g.input(g.shape()), alpha=g.pick([1.0, 0.5])))


@celu.example
def _(g):
    g.output(g.Celu(g.input(g.shape()), alpha=g.pick([1.0, 0.5, 2.0])))


@selu.example
def _(g):
    g.output(g.Selu(g.input(g.shape())))


class DecomposeElu(Substitution):
    """Write Elu, Celu and Selu out by Exp and Relu."""

    name = "decompose-elu"
    rules = _RULES
