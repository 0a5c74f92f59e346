"""Say with a cheaper operator what a dear one computes.

    x / c ─ y                 becomes      x · (1 / c) ─ y
    x², x^½, x⁻¹ ─ y          becomes      x · x, √x, 1 / x ─ y

In no default recipe: onnxruntime finds Gelu and LayerNormalization by their Div and Pow, and a Pow with the exponent 2
is a product there anyway. 1 / c must be a normal number. Fidelity: rounding (√ differs from x^½ at −0 and −∞).
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.infer import dims_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.simplify_arithmetic import all_are

_LARGEST = 1 << 16


def _invertible(array: np.ndarray) -> bool:
    if array.dtype.kind != "f" or not 0 < array.size <= _LARGEST:
        return False
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.abs(1 / array)
    return bool((np.isfinite(inverse) & (inverse >= np.finfo(array.dtype).tiny)).all())


@rule("divide-by-constant", fidelity="rounding")
def divide(p):
    return p.Div(p.x, p.constant("c", where=_invertible))


@divide.replace
def _(op, m):
    return op.Mul(m.x, np.asarray(1 / m.c, m.c.dtype))


@divide.example
def _(g):
    shape = g.shape()
    g.output(g.Div(g.input(shape), g.constant(g.positive(*shape))))


@rule("power", fidelity="rounding")
def power(p):
    return p.Pow(p.x, p.constant("c", where=lambda c: any(all_are(number)(c) for number in (2, 0.5, -1))))


@power.require("the exponent does not make the tensor larger, and roots are of floating-point numbers")
def _(m):
    same = m.c.ndim == 0 or (dims_of(m.x) is not None and dims_of(m.x) == dims_of(m.root.outputs[0]))
    return same and (float(m.c.flat[0]) == 2 or (m.x.dtype is not None and m.x.dtype.is_floating_point()))


@power.replace
def _(op, m):
    exponent = float(m.c.flat[0])
    return op.Mul(m.x, m.x) if exponent == 2 else op.Sqrt(m.x) if exponent == 0.5 else op.Reciprocal(m.x)


@power.example
def _(g):
    x = g.Exp(g.Tanh(g.input(g.shape())))
    g.output(g.Pow(x, g.constant(g.pick([2.0, 0.5, -1.0]))))


class CheaperOperators(RewritePass):
    """Say with Mul, Sqrt and Reciprocal what a Div by a constant or a Pow computes."""

    name = "cheaper-operators"
    rules = (divide, power)
