"""Recognize Elu, Celu and Selu in the arithmetic that exporters write for them.

    Where(x > 0, x, α·(exp(x) - 1))               becomes      x ─ Elu(α) ─ y
    Relu(x) + Min(0, α·(exp(x/α) - 1))            becomes      x ─ Celu(α) ─ y      from opset 12 on
    x ─ Elu(1.6733) ─ Mul(1.0507) ─ y             becomes      x ─ Selu ─ y

(Clevert et al., arXiv:1511.07289, equation 15; Barron, arXiv:1704.07483; Klambauer et al., arXiv:1706.02515,
equation 2.) Fidelity: rounding.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from graphopt.ir.edit import opset_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import fits_attribute, keeps_rank, near, negative, plus, positive

_CELU_SINCE = 12
_ALPHA, _GAMMA = 1.6732632423543772, 1.0507009873554805


def _exponential(p, x):
    """α·(exp(x) - 1), where α may be missing."""
    core = plus(p, p.Exp(x), -1.0)
    return p.either(p.Mul(core, p.constant("alpha", where=fits_attribute)), core)


def _alpha(m) -> float:
    return float(m.alpha.reshape(())) if "alpha" in m else 1.0


@rule("elu-where", fidelity="rounding")
def elu_where(p):
    return p.Where(positive(p, p.x), p.x, _exponential(p, p.x))


@rule("elu-where-not", fidelity="rounding")
def elu_where_not(p):
    return p.Where(negative(p, p.x), _exponential(p, p.x), p.x)


for one in (elu_where, elu_where_not):
    one.replace(lambda op, m: op.Elu(m.x, alpha=_alpha(m)))


@rule("celu", fidelity="rounding")
def celu(p):
    inner = p.either(p.Div(p.x, p.constant("alpha", where=fits_attribute)), p.x)
    low = p.either(
        p.Mul(plus(p, p.Exp(inner), -1.0), p.constant("outer", where=fits_attribute)), plus(p, p.Exp(inner), -1.0)
    )
    return p.Add(p.either(p.Relu(p.x), p.Max(p.x, 0.0)), p.Min(low, 0.0))


@celu.require("α is one positive number")
def _(m):
    outer = float(m.outer.reshape(())) if "outer" in m else 1.0
    return math.isclose(outer, _alpha(m), rel_tol=1e-6) and outer > 0


@celu.require("the opset has Celu")
def _(m):
    return opset_of(m.root.graph) >= _CELU_SINCE


@celu.replace
def _(op, m):
    return op.Celu(m.x, alpha=_alpha(m))


def _standard(alpha: float) -> bool:
    return math.isclose(alpha, _ALPHA, rel_tol=2e-5)


@rule("selu", fidelity="rounding")
def selu(p):
    return p.Mul(p.Elu(p.x, alpha=p.attribute("alpha", where=_standard)), p.constant(where=near(_GAMMA)))


@selu.replace
def _(op, m):
    return op.Selu(m.x, alpha=m.alpha, gamma=_GAMMA)


for one in (elu_where, elu_where_not, celu, selu):
    one.require("no constant makes the tensor larger, and it is float32")(
        lambda m: m.x.dtype == ir.DataType.FLOAT and keeps_rank(m, m.x)
    )


def _low(g, x, alpha):
    core = g.Sub(g.Exp(x), g.constant(1.0)) if g.flag() else g.Add(g.constant(-1.0), g.Exp(x))
    return core if alpha == 1.0 and g.flag() else g.Mul(core, g.constant(alpha))


@elu_where.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Where(g.Greater(x, g.constant(0.0)), x, _low(g, x, g.pick([1.0, 0.5, 1.7]))))


@elu_where_not.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Where(g.Less(x, g.constant(0.0)), _low(g, x, g.pick([1.0, 0.5])), x))


@celu.example
def _(g):
    x, alpha = g.input(g.shape()), g.pick([1.0, 0.5, 2.0])
    inner = x if alpha == 1.0 else g.Div(x, g.constant(alpha))
    low = g.Sub(g.Exp(inner), g.constant(1.0))
    low = low if alpha == 1.0 else g.Mul(low, g.constant(alpha))
    g.output(g.Add(g.Relu(x), g.Min(low, g.constant(0.0))))


@selu.example
def _(g):
    g.output(g.Mul(g.Elu(g.input(g.shape()), alpha=_ALPHA), g.constant(_GAMMA)))


class FuseElu(RewritePass):
    """Recognize Elu, Celu and Selu in Where, Exp and Min."""

    name = "fuse-elu"
    rules = (elu_where, elu_where_not, celu, selu)
