"""Compute Erf by elementary operators, for backends that lack it.

    x ─ Erf ─ y      becomes      y = z · P(u) / Q(u)      with z = x between -4 and 4, and u = (z / 4)²

P has degree 6 and Q degree 4: the rational minimax approximation of Eigen's `generic_fast_erf` (which TensorFlow and
XLA use, too), its coefficients scaled to u between 0 and 1 so that all of them are numbers of float16. The relative
error in float32 is below 5e-7 for every x, also near zero, where the difference of 1 and an exponential would cancel.
No exponential is taken: HTP's is wrong below -88. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_END = 4.0
_P = (
    -1.60960333262415e-02, -2.95459980854025e-03, -7.34990630326855e-04, -5.69250639462346e-05, -2.10102402082508e-06,
    2.77068142495902e-08, -2.72614225801306e-10,
)  # fmt: skip
_Q = (-1.42647390514189e-02, -7.37332916720468e-03, -1.68282697438203e-03, -2.13374055278905e-04, -1.45660718464996e-05)
_BROADCASTING_SINCE = 8


@rule("write-out-erf", fidelity="rounding")
def erf(p):
    return p.Erf(p.x)


@erf.require("its input is floating point")
def _(m):
    return is_float(m.x)


@erf.replace
def _(op, m):
    if op.opset < _BROADCASTING_SINCE:
        raise op.decline("Max and Min of this opset take operands of one shape only")
    z = op.Max(op.Min(m.x, number(m.x, _END)), number(m.x, -_END))
    quarter = op.Mul(z, number(m.x, 1 / _END))
    u = op.Mul(quarter, quarter)
    kind = m.x.dtype.numpy()
    return op.Mul(z, op.Div(_polynomial(op, u, _P, kind), _polynomial(op, u, _Q, kind)))


def _polynomial(op, u, coefficients: tuple[float, ...], kind: np.dtype):
    """By Horner's rule; what stands before the k-th power of x² stands before that of u times 16ᵏ."""
    scaled = [np.array(one * _END ** (2 * power), kind) for power, one in enumerate(coefficients)]
    total = scaled[-1]
    for one in scaled[-2::-1]:
        total = op.Add(op.Mul(u, total), one)
    return total


@erf.example
def _(g):
    g.output(g.Erf(g.input(g.shape())))


class DecomposeErf(Substitution):
    """Compute Erf by a quotient of polynomials."""

    name = "decompose-erf"
    rules = (erf,)
