"""Tell NaN and the infinities by comparisons, for backends that lack IsNaN and IsInf.

    x ─ IsNaN ─ y                         becomes      y = not (x = x)
    x ─ IsInf ─ y                         becomes      y = not (a < ∞) and min(a, 1) < 2, where a = |x|
    x ─ IsInf(detect_negative=0) ─ y      becomes      the same of a = Relu(x), and with detect_positive=0 of Relu(-x)

The second half of it leaves NaN out. HTP knows neither NaN nor infinity: both become 131008 there, of which every
comparison is false; so written, its infinities are found, and its NaN are infinities.
Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_FLOAT_EQUAL_SINCE = 11


@rule("compare-with-itself", fidelity="exact")
def is_nan(p):
    return p.IsNaN(p.x)


@is_nan.replace
def _(op, m):
    return op.Not(op.Equal(m.x, m.x))


@rule("compare-with-infinity", fidelity="exact")
def is_inf(p):
    return p.IsInf(p.x, detect_positive=p.attribute("positive"), detect_negative=p.attribute("negative"))


@is_inf.require("it asks for one infinity or both")
def _(m):
    return bool(m.positive or m.negative)


@is_inf.replace
def _(op, m):
    size = op.Abs(m.x) if m.positive and m.negative else op.Relu(m.x if m.positive else op.Neg(m.x))
    finite = op.Less(size, number(m.x, np.inf))
    number_at_all = op.Less(op.Min(size, number(m.x, 1)), number(m.x, 2))
    return op.And(op.Not(finite), number_at_all)


for one in (is_nan, is_inf):
    one.require("it is floating point")(lambda m: is_float(m.x))
    one.require(f"the opset is at least {_FLOAT_EQUAL_SINCE}, which compares floating-point numbers")(
        lambda m: opset(m.root) >= _FLOAT_EQUAL_SINCE
    )


@is_nan.example
def _(g):
    g.output(g.IsNaN(g.input(g.shape())))


@is_inf.example
def _(g):
    positive, negative = g.pick([(1, 1), (1, 0), (0, 1)])
    g.output(g.IsInf(g.input(g.shape()), detect_positive=positive, detect_negative=negative))


class DecomposeSpecialValues(Substitution):
    """Tell NaN and the infinities by comparisons."""

    name = "decompose-special-values"
    rules = (is_nan, is_inf)
