"""Compute Erf by elementary operators, for backends that lack it.

    x ─ Erf ─ y      becomes      y = sign(x) · (1 − t·(a₁ + t·(a₂ + t·(a₃ + t·(a₄ + t·a₅)))) · exp(−x²))
                                  with t = 1 / (1 + p·|x|)

Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26: |error| ≤ 1.5e-7 for every x, which is
1.3 times the distance of neighboring float32 numbers below 1. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule

_P = 0.3275911
_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


@rule("write-out-erf", fidelity="rounding")
def erf(p):
    return p.Erf(p.x)


@erf.require("its input is floating point")
def _(m):
    return m.x.dtype is not None and m.x.dtype.is_floating_point()


@erf.replace
def _(op, m):
    kind = m.x.dtype.numpy()

    def number(value):
        return np.array(value, kind)

    size = op.Abs(m.x)
    t = op.Div(number(1), op.Add(op.Mul(size, number(_P)), number(1)))
    total = op.Mul(t, number(_A[-1]))
    for factor in _A[-2::-1]:
        total = op.Mul(t, op.Add(total, number(factor)))
    tail = op.Exp(op.Neg(op.Mul(size, size)))
    return op.Mul(op.Sign(m.x), op.Sub(number(1), op.Mul(total, tail)))


@erf.example
def _(g):
    g.output(g.Erf(g.input(g.shape())))


class DecomposeErf(Substitution):
    """Compute Erf by a polynomial and Exp."""

    name = "decompose-erf"
    rules = (erf,)
