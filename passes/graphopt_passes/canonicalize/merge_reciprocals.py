"""Make one division of a reciprocal and a product.

    a · (1 / b), a · Reciprocal(b) ─ y      becomes      a / b ─ y
    a / (1 / b), a / Reciprocal(b) ─ y      becomes      a · b ─ y

One rounding instead of two. Where 1 / b overflows, the division does not. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir.edit import opset
from graphopt.ir.infer import dims_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule
from graphopt_passes.canonicalize.simplify_arithmetic import all_are

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_BROADCASTING = 7
"""Opset from which both inputs broadcast; before, an attribute said how the second does."""


def _reciprocal(p):
    return p.either(p.Reciprocal(p.b), p.Div(p.constant("one", where=all_are(1)), p.b, as_="division"))


def _holds(m: Match) -> bool | str:
    if m.b.dtype is None or m.b.dtype.name not in _FLOATS or opset(m.root) < _BROADCASTING:
        return "they are not floating-point numbers that broadcast by themselves"
    if "one" not in m or m.one.ndim == 0:
        return True
    shape = dims_of(m.b)
    return shape is not None and shape == dims_of(m.division.outputs[0])


def _example(op_type: str):
    def example(g):
        shape = g.shape()
        a, b = g.input(shape), g.Exp(g.Tanh(g.input(shape)))
        inverse = g.Reciprocal(b) if g.flag() else g.Div(g.constant(1.0), b)
        g.output(g.op(op_type, a, inverse))

    return example


@rule("times-reciprocal", fidelity="rounding")
def times(p):
    return p.Mul(p.a, _reciprocal(p))


times.require("the one that is divided does not make the tensor larger")(_holds)
times.example(_example("Mul"))


@times.replace
def _(op, m):
    return op.Div(m.a, m.b)


@rule("by-reciprocal", fidelity="rounding")
def by(p):
    return p.Div(p.a, _reciprocal(p))


by.require("the one that is divided does not make the tensor larger")(_holds)
by.example(_example("Div"))


@by.replace
def _(op, m):
    return op.Mul(m.a, m.b)


class MergeReciprocals(RewritePass):
    """Make one division of a reciprocal and a product, and one product of a division by a reciprocal."""

    name = "merge-reciprocals"
    rules = (times, by)
