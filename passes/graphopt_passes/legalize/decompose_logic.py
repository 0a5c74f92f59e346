"""Compare and choose booleans by And, Or and Not, for backends whose Equal and Where take numbers only.

    Equal(a, b)       becomes      not (a xor b)
    Where(c, a, b)    becomes      (c and a) or (not c and b)
    Xor(a, b)         becomes      not (a = b)

Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import rule


@rule("equality-of-booleans", fidelity="exact")
def equal(p):
    return p.Equal(p.a, p.b)


@equal.require("it compares booleans")
def _(m):
    return m.a.dtype == ir.DataType.BOOL


@equal.replace
def _(op, m):
    return op.Not(op.Xor(m.a, m.b))


@rule("choice-of-booleans", fidelity="exact")
def choice(p):
    return p.Where(p.condition, p.a, p.b)


@choice.require("it chooses booleans")
def _(m):
    return m.a.dtype == ir.DataType.BOOL


@choice.replace
def _(op, m):
    return op.Or(op.And(m.condition, m.a), op.And(op.Not(m.condition), m.b))


@rule("difference-of-booleans", fidelity="exact")
def xor(p):
    return p.Xor(p.a, p.b)


@xor.replace
def _(op, m):
    return op.Not(op.Equal(m.a, m.b))


def _boolean(g, shape):
    return g.Greater(g.input(shape), g.constant(0.0))


@equal.example
def _(g):
    shape = g.shape()
    g.output(g.Equal(_boolean(g, shape), _boolean(g, shape)))


@choice.example
def _(g):
    shape = g.shape()
    g.output(g.Where(_boolean(g, shape), _boolean(g, shape), _boolean(g, shape)))


@xor.example
def _(g):
    shape = g.shape()
    g.output(g.Xor(_boolean(g, shape), _boolean(g, shape)))


class DecomposeLogic(Substitution):
    """Compare and choose booleans by logic."""

    name = "decompose-logic"
    rules = (equal, choice, xor)
