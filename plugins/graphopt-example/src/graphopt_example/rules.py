"""A rewrite rule; its entry point leads straight to it."""

from __future__ import annotations

from graphopt.rewrite import rule


@rule("absolute-of-negative", fidelity="exact")
def absolute_of_negative(p):
    """Write |-x| as |x|."""
    return p.Abs(p.Neg(p.x))


@absolute_of_negative.replace
def _(op, m):
    return op.Abs(m.x)


@absolute_of_negative.example
def _(g):
    g.output(g.Abs(g.Neg(g.input(g.shape()))))
