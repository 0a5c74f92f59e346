"""Write LpNormalization out, for backends that lack it.

    x ─ LpNormalization(p) ─ y      becomes      n = ReduceL1/L2(x),  y = x / Where(n = 0, 1, n)

A vector of zeros stays one, as the standard says from opset 22 on and onnxruntime has always done. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.scalars import is_float, number


@rule("write-out-lp-norm", fidelity="rounding")
def lp_norm(p):
    return p.LpNormalization(p.x, axis=p.attribute("axis"), p=p.attribute("power", where=lambda power: power in (1, 2)))


lp_norm.require("it is floating point")(lambda m: is_float(m.x))


@lp_norm.replace
def _(op, m):
    length = reduce(op, f"ReduceL{m.power}", m.x, [m.axis])
    some = op.Where(op.Equal(length, number(m.x, 0)), number(m.x, 1), length)
    return op.Div(m.x, some)


@lp_norm.example
def _(g):
    g.output(g.LpNormalization(g.input(g.shape(least=1)), axis=-1, p=g.pick([1, 2])))


class DecomposeLpNorm(Substitution):
    """Write LpNormalization out by ReduceL1 or ReduceL2."""

    name = "decompose-lp-norm"
    rules = (lp_norm,)
