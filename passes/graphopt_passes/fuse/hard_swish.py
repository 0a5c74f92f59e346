"""Recognize HardSigmoid and HardSwish in the arithmetic that exporters write for them.

    x ─ Add(3) ─ Clip(0, 6) ─ Div(6) ─ y                 becomes      x ─ HardSigmoid(1/6, 1/2) ─ y

    x ─┬─ Add(3) ─ Clip(0, 6) ─ Mul ─ Div(6) ─ y         becomes      x ─┬─ HardSigmoid(1/6, 1/2) ─ Mul ─ y
       └─────────────────────────┘                                      └─────────────────────────┘
    and from opset 14 on, x ─ HardSwish ─ y

(Howard et al., arXiv:1905.02244, section 5.2.) Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import opset_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.clip_to_relu6 import clip_bounds
from graphopt_passes.scalars import is_float

HARD_SWISH_SINCE = 14
_SIXTH = 1 / 6


def _sixth(array: np.ndarray) -> bool:
    return array.size == 1 and array.ndim == 0 and math.isclose(float(array), _SIXTH, rel_tol=1e-4)


def _scalar(value: float):
    return lambda array: array.ndim == 0 and float(array) == value


def _ramp(p):
    """Clip(x + 3, 0, 6)."""
    return p.op("Clip", p.Add(p.x, p.constant(where=_scalar(3.0))), p.rest("bounds"), as_="clip")


def _zero_to_six(m):
    return clip_bounds(m.clip) == (0.0, 6.0)


def _hard_sigmoid(op, x):
    return op.HardSigmoid(x, alpha=_SIXTH, beta=0.5)


@rule("hard-sigmoid-div", fidelity="rounding")
def hard_sigmoid_div(p):
    return p.Div(_ramp(p), p.constant(where=_scalar(6.0)))


@rule("hard-sigmoid-mul", fidelity="rounding")
def hard_sigmoid_mul(p):
    return p.Mul(_ramp(p), p.constant(where=_sixth))


@rule("hard-swish-div", fidelity="rounding")
def hard_swish_div(p):
    return p.Div(p.Mul(p.x, _ramp(p)), p.constant(where=_scalar(6.0)))


@rule("hard-swish-mul", fidelity="rounding")
def hard_swish_mul(p):
    return p.Mul(p.Mul(p.x, _ramp(p)), p.constant(where=_sixth))


for one in (hard_sigmoid_div, hard_sigmoid_mul, hard_swish_div, hard_swish_mul):
    one.require("the Clip is from 0 to 6")(_zero_to_six)
    one.require("it is floating point, as HardSigmoid is")(lambda m: is_float(m.x))

for one in (hard_sigmoid_div, hard_sigmoid_mul):
    one.replace(lambda op, m: _hard_sigmoid(op, m.x))

for one in (hard_swish_div, hard_swish_mul):
    one.replace(lambda op, m: op.Mul(_hard_sigmoid(op, m.x), m.x))


@rule("hard-swish", fidelity="rounding")
def hard_swish(p):
    return p.Mul(p.x, p.HardSigmoid(p.x, alpha=p.attribute("alpha"), beta=0.5))


@hard_swish.require("alpha is a sixth, and the opset has HardSwish")
def _(m):
    known = m.root.graph is not None and opset_of(m.root.graph) >= HARD_SWISH_SINCE
    return math.isclose(m.alpha, _SIXTH, rel_tol=1e-4) and known


@hard_swish.replace
def _(op, m):
    return op.HardSwish(m.x)


def _clip3(g, x):
    return g.Clip(g.Add(x, g.constant(3.0)), g.constant(0.0), g.constant(6.0))


@hard_sigmoid_div.example
def _(g):
    g.output(g.Div(_clip3(g, g.input(g.shape())), g.constant(6.0)))


@hard_sigmoid_mul.example
def _(g):
    g.output(g.Mul(_clip3(g, g.input(g.shape())), g.constant(_SIXTH)))


@hard_swish_div.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Div(g.Mul(x, _clip3(g, x)), g.constant(6.0)))


@hard_swish_mul.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Mul(g.Mul(_clip3(g, x), x), g.constant(_SIXTH)))


@hard_swish.example
def _(g):
    g.since(HARD_SWISH_SINCE)
    x = g.input(g.shape())
    g.output(g.Mul(g.HardSigmoid(x, alpha=_SIXTH, beta=0.5), x))


class FuseHardSwish(RewritePass):
    """Recognize HardSigmoid and HardSwish in Add, Clip, Mul and Div."""

    name = "fuse-hard-swish"
    rules = (hard_swish_div, hard_swish_mul, hard_sigmoid_div, hard_sigmoid_mul, hard_swish)
