"""Take away logic that changes nothing, and every Not that something else can say.

    a ∧ true, a ∨ false, a ⊻ false, a = true ─ y         becomes      a ─ y
    a ∧ false, a ∨ true ─ y                              becomes      the constant false, true ─ y
    a ⊻ true, a = false ─ y                              becomes      ¬a ─ y
    integers: ¬(a < b), ¬(a ≥ b) ─ y                     becomes      a ≥ b, a < b ─ y

¬(a < b) is not a ≥ b in floating point, where neither holds of NaN. Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.simplify_arithmetic import all_are, keeps_shape, passes_on

_OPPOSITE = {"Less": "GreaterOrEqual", "GreaterOrEqual": "Less", "Greater": "LessOrEqual", "LessOrEqual": "Greater"}
_SINCE_OR_EQUAL = 12
"""Opset from which there are LessOrEqual and GreaterOrEqual."""
_LARGEST = 4096
"""Elements up to which a result that does not depend on its input becomes a constant."""


def _is(truth: bool):
    """A condition on a constant: truth values that are all this one."""
    return lambda array: array.dtype == bool and all_are(truth)(array)


def _with_truth(op_type: str, truth: bool):
    def example(g):
        shape = g.shape(least=1)
        x = g.Greater(g.input(shape, static=True), g.constant(0.0))
        size = g.pick([(), shape, shape[1:]])
        g.output(g.op(op_type, x, g.constant(np.full(size, truth))))

    return example


and_true = passes_on(
    "and-true", lambda p: p.op(("And", "Equal"), p.x, p.constant("c", where=_is(True))), _with_truth("And", True)
)
or_false = passes_on(
    "or-false", lambda p: p.op(("Or", "Xor"), p.x, p.constant("c", where=_is(False))), _with_truth("Or", False)
)


@rule("decided", fidelity="exact")
def decided(p):
    return p.op(("And", "Or"), p.x, p.constant("c", where=lambda c: c.dtype == bool and c.size > 0))


@decided.require("the constant alone decides, and the result is small")
def _(m):
    shape = static_shape(m.root.outputs[0])
    return bool((m.c == (m.root.op_type == "Or")).all()) and shape is not None and math.prod(shape) <= _LARGEST


@decided.replace
def _(op, m):
    return op.constant(np.full(static_shape(m.root.outputs[0]), m.root.op_type == "Or"))


@decided.example
def _(g):
    op_type, truth = g.pick([("And", False), ("Or", True)])
    x = g.Greater(g.input(g.shape(), static=True), g.constant(0.0))
    g.output(g.op(op_type, x, g.constant(np.array(truth))))


@rule("opposite", fidelity="exact")
def opposite(p):
    return p.op(("Xor", "Equal"), p.x, p.constant("c", where=lambda c: c.dtype == bool and c.size > 0))


@opposite.require("the constant asks for the opposite, and does not make the tensor larger")
def _(m):
    return bool((m.c == (m.root.op_type == "Xor")).all()) and keeps_shape(m)


@opposite.replace
def _(op, m):
    return op.Not(m.x)


@opposite.example
def _(g):
    _with_truth(*g.pick([("Xor", True), ("Equal", False)]))(g)


@rule("not-less", fidelity="exact")
def not_less(p):
    return p.Not(p.op(tuple(_OPPOSITE), p.a, p.b, as_="compared"))


@not_less.require("integers are compared, and the opset has the opposite")
def _(m):
    return m.a.dtype is not None and m.a.dtype.is_integer()


@not_less.replace
def _(op, m):
    if op.opset < _SINCE_OR_EQUAL:
        raise op.decline("the opset has no LessOrEqual")
    return op.op(_OPPOSITE[m.compared.op_type], m.a, m.b)


@not_less.example
def _(g):
    shape = g.shape()
    a, b = (g.input(shape, dtype=g.INT64) for _ in range(2))
    g.output(g.Not(g.op(g.pick(["Less", "GreaterOrEqual", "Greater", "LessOrEqual"]), a, b)))


class SimplifyLogic(RewritePass):
    """Take away logic that changes nothing, and every Not that a comparison can say."""

    name = "simplify-logic"
    rules = (
        and_true, or_false, decided, opposite, not_less
    )  # fmt: skip
