"""Recognize Gelu in the arithmetic that exporters write for it.

    x ─┬─ Div(√2) ─ Erf ─ Add(1) ─ Mul ─ Mul(½) ─ y                              becomes      x ─ Gelu ─ y
       └────────────────────────────┘

    x ─┬─ Pow(3) ─ Mul(0.044715) ─ Add ─ Mul(√(2/π)) ─ Tanh ─ Add(1) ─ Mul ─ Mul(½) ─ y
       └────────────────────────────┘                                    becomes      x ─ Gelu(tanh) ─ y

with the three factors in any order and association, squares and cubes as products, and Div for Mul.
(Hendrycks and Gimpel, arXiv:1606.08415, section 2.) Gelu is of opset 20: before, nothing happens, and onnxruntime
recognizes the form by itself; x · Sigmoid(1.702·x) is not ONNX's Gelu. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import opset_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, keeps_rank, plus, square, times

SINCE = 20
_TANH_FACTOR = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def erf_part(p, x):
    """1 + erf(x/√2)."""
    return plus(p, p.Erf(times(p, x, math.sqrt(0.5))), 1.0)


def tanh_part(p, x):
    """1 + tanh(√(2/π)·(x + 0.044715·x³)), also with x or the factor outside."""
    cube = p.either(p.Pow(x, 3.0), p.Mul(x, square(p, x)))
    inside = p.Add(x, p.either(times(p, cube, _CUBIC), p.Mul(times(p, x, _CUBIC), square(p, x))))
    outside = plus(p, times(p, square(p, x), _CUBIC), 1.0)
    line = times(p, x, _TANH_FACTOR)
    argument = p.either(times(p, inside, _TANH_FACTOR), p.Mul(line, outside), times(p, p.Mul(x, outside), _TANH_FACTOR))
    return plus(p, p.Tanh(argument), 1.0)


def _half(array: np.ndarray) -> bool:
    return array.size == 1 and float(array.reshape(())) == 0.5


def _two(array: np.ndarray) -> bool:
    return array.size == 1 and float(array.reshape(())) == 2.0


@rule("gelu-half-last", fidelity="rounding")
def half_last(p):
    return p.Mul(p.Mul(p.x, erf_part(p, p.x)), p.constant(where=_half))


@rule("gelu-two-last", fidelity="rounding")
def two_last(p):
    return p.Div(p.Mul(p.x, erf_part(p, p.x)), p.constant(where=_two))


@rule("gelu-half-with-x", fidelity="rounding")
def half_with_x(p):
    return p.Mul(times(p, p.x, 0.5), erf_part(p, p.x))


@rule("gelu-half-with-erf", fidelity="rounding")
def half_with_erf(p):
    return p.Mul(p.x, times(p, erf_part(p, p.x), 0.5))


@rule("gelu-tanh-half-last", fidelity="rounding")
def tanh_half_last(p):
    return p.Mul(p.Mul(p.x, tanh_part(p, p.x)), p.constant(where=_half))


@rule("gelu-tanh-half-with-x", fidelity="rounding")
def tanh_half_with_x(p):
    return p.Mul(times(p, p.x, 0.5), tanh_part(p, p.x))


@rule("gelu-tanh-half-with-tanh", fidelity="rounding")
def tanh_half_with_tanh(p):
    return p.Mul(p.x, times(p, tanh_part(p, p.x), 0.5))


_BY_ERF = (half_last, two_last, half_with_x, half_with_erf)
_BY_TANH = (tanh_half_last, tanh_half_with_x, tanh_half_with_tanh)


def _known(m):
    return is_float(m.x) and opset_of(m.root.graph) >= SINCE and keeps_rank(m, m.x)


for one in _BY_ERF + _BY_TANH:
    one.require("the opset has Gelu, and no constant makes the tensor larger")(_known)
for one in _BY_ERF:
    one.replace(lambda op, m: op.Gelu(m.x))
for one in _BY_TANH:
    one.replace(lambda op, m: op.Gelu(m.x, approximate="tanh"))


def _erf(g, x):
    scaled = g.Div(x, g.constant(math.sqrt(2))) if g.flag() else g.Mul(x, g.constant(math.sqrt(0.5)))
    return g.Add(g.Erf(scaled), g.constant(1.0))


def _tanh(g, x):
    square_ = g.Mul(x, x) if g.flag() else g.Pow(x, g.constant(2.0))
    if g.flag():
        cube = g.Pow(x, g.constant(3.0)) if g.flag() else g.Mul(square_, x)
        argument = g.Mul(g.Add(x, g.Mul(cube, g.constant(_CUBIC))), g.constant(_TANH_FACTOR))
    else:
        outside = g.Add(g.Mul(square_, g.constant(_CUBIC)), g.constant(1.0))
        argument = g.Mul(g.Mul(x, g.constant(_TANH_FACTOR)), outside)
    return g.Add(g.Tanh(argument), g.constant(1.0))


def _examples(part, last, with_x, with_part):
    """Give the three orders of the factors their examples."""

    @last.example
    def _(g):
        g.since(SINCE)
        x = g.input(g.shape())
        g.output(g.Mul(g.Mul(x, part(g, x)), g.constant(0.5)))

    @with_x.example
    def _(g):
        g.since(SINCE)
        x = g.input(g.shape())
        g.output(g.Mul(part(g, x), g.Mul(x, g.constant(0.5))))

    @with_part.example
    def _(g):
        g.since(SINCE)
        x = g.input(g.shape())
        g.output(g.Mul(x, g.Mul(part(g, x), g.constant(0.5))))


_examples(_erf, half_last, half_with_x, half_with_erf)
_examples(_tanh, tanh_half_last, tanh_half_with_x, tanh_half_with_tanh)


@two_last.example
def _(g):
    g.since(SINCE)
    x = g.input(g.shape())
    g.output(g.Div(g.Mul(x, _erf(g, x)), g.constant(2.0)))


class FuseGelu(RewritePass):
    """Recognize Gelu in Erf or Tanh and the factors around it."""

    name = "fuse-gelu"
    rules = _BY_ERF + _BY_TANH
