"""Put a sign where it costs nothing: into the operator that reads it, or into a constant.

    a + (−b), a − (−b) ─ y               becomes      a − b, a + b ─ y
    (−a) · (−b), (−a) / (−b) ─ y         becomes      a · b, a / b ─ y
    (−x) · c, −(x · c), (−x) / c ─ y     becomes      x · (−c), x · (−c), x / (−c) ─ y

A change of sign is exact, and so is a sum with it. −(a − b) stays: it is −0 where b − a is +0. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import opset
from graphopt.pipeline import RewritePass
from graphopt.rewrite import Match, rule

_PRODUCTS = ("Mul", "Div")
_BROADCASTING = 7
"""Opset from which both inputs broadcast; before, an attribute said how the second does."""
_LARGEST = 1 << 16
"""Elements of a constant up to which it is negated."""


def _modern(m: Match) -> bool:
    return opset(m.root) >= _BROADCASTING


def _signed(array: np.ndarray) -> bool:
    return array.size <= _LARGEST and array.dtype.kind != "u"


@rule("add-neg", fidelity="exact")
def add_neg(p):
    return p.Add(p.a, p.Neg(p.b, as_="neg"))


@add_neg.replace
def _(op, m):
    return op.Sub(m.a, m.b)


@add_neg.example
def _(g):
    shape = g.shape()
    a, b = g.input(shape), g.Neg(g.input(shape))
    g.output(g.Add(a, b) if g.flag() else g.Add(b, a))


@rule("sub-neg", fidelity="exact")
def sub_neg(p):
    return p.Sub(p.a, p.Neg(p.b, as_="neg"))


@sub_neg.replace
def _(op, m):
    return op.Add(m.a, m.b)


@sub_neg.example
def _(g):
    shape = g.shape()
    g.output(g.Sub(g.input(shape), g.Neg(g.input(shape))))


@rule("product-of-negs", fidelity="exact")
def product(p):
    return p.op(_PRODUCTS, p.Neg(p.a), p.Neg(p.b))


@product.replace
def _(op, m):
    return op.op(m.root.op_type, m.a, m.b)


@product.example
def _(g):
    shape = g.shape()
    g.output(g.op(g.pick(["Mul", "Div"]), g.Neg(g.input(shape)), g.Neg(g.input(shape))))


@rule("neg-into-factor", fidelity="exact")
def into_factor(p):
    return p.Mul(p.Neg(p.x), p.constant("c", where=_signed))


@into_factor.replace
def _(op, m):
    return op.Mul(m.x, -m.c)


@into_factor.example
def _(g):
    shape = g.shape()
    g.output(g.Mul(g.Neg(g.input(shape)), g.constant(g.normal(*shape))))


@rule("neg-into-divisor", fidelity="exact")
def into_divisor(p):
    return p.Div(p.Neg(p.x), p.constant("c", where=_signed))


@into_divisor.replace
def _(op, m):
    return op.Div(m.x, -m.c)


@into_divisor.example
def _(g):
    shape = g.shape()
    g.output(g.Div(g.Neg(g.input(shape)), g.constant(g.positive(*shape))))


@rule("neg-of-product", fidelity="exact")
def of_product(p):
    return p.Neg(p.op(_PRODUCTS, p.x, p.constant("c", where=_signed), as_="product"))


@of_product.replace
def _(op, m):
    return op.op(m.product.op_type, m.x, -m.c)


@of_product.example
def _(g):
    shape = g.shape()
    g.output(g.Neg(g.op(g.pick(["Mul", "Div"]), g.input(shape), g.constant(g.positive(*shape)))))


for _rule in (add_neg, sub_neg):
    _rule.require("it is not the negative itself that it is added to")(lambda m: m.a is not m.neg.outputs[0])
for _rule in (add_neg, sub_neg, product, into_factor, into_divisor, of_product):
    _rule.require("both inputs broadcast by themselves, as from opset 7 on")(_modern)


class MoveSigns(RewritePass):
    """Put a sign where it costs nothing: into the operator that reads it, or into a constant."""

    name = "move-signs"
    rules = (add_neg, sub_neg, product, into_factor, into_divisor, of_product)
