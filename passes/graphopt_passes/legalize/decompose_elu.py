"""Write Elu, Celu and Selu out, for backends that lack them.

    x ─ Elu(α) ─ y          becomes      y = Relu(x) + α·(exp(max(-Relu(-x), -87)) - 1)
    x ─ Celu(α) ─ y         becomes      y = Relu(x) + α·Elu(-Relu(-x) / α)
    x ─ Selu(α, γ) ─ y      becomes      y = γ · Elu(x, α)

as the ONNX standard defines them, with the negative part inside so that nothing overflows. HTP's exponential is wrong
below -88, hence the bound, beyond which exp(x) - 1 is -1 in float32 anyhow. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_LOWEST = -87.0
_BROADCASTING_SINCE = 8


def _negative_part(op, x):
    return op.Neg(op.Relu(op.Neg(x)))


@rule("write-out-elu", fidelity="rounding")
def elu(p):
    return p.Elu(p.x, alpha=p.attribute("alpha"))


@elu.replace
def _(op, m):
    if op.opset < _BROADCASTING_SINCE:
        raise op.decline("Max of this opset takes operands of one shape only")
    low = op.Max(_negative_part(op, m.x), number(m.x, _LOWEST))
    curve = op.Sub(op.Exp(low), number(m.x, 1))
    return op.Add(op.Relu(m.x), curve if m.alpha == 1.0 else op.Mul(curve, number(m.x, m.alpha)))


@rule("write-out-celu", fidelity="rounding")
def celu(p):
    return p.Celu(p.x, alpha=p.attribute("alpha", where=lambda alpha: alpha > 0))


@celu.replace
def _(op, m):
    if m.alpha == 1.0:
        return op.Elu(m.x, alpha=1.0)
    low = op.Div(_negative_part(op, m.x), number(m.x, m.alpha))
    curve = op.Mul(op.Elu(low, alpha=1.0), number(m.x, m.alpha))
    return op.Add(op.Relu(m.x), curve)


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
