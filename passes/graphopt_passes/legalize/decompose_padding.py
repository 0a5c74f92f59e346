"""Pad by a node of its own, for backends whose layers do not pad as they are told.

    x ─ Conv(pads p) ─ y                                becomes      x ─ Pad(p, 0) ─ Conv ─ y
    x ─ AveragePool(pads p, count_include_pad) ─ y      becomes      x ─ Pad(p, 0) ─ AveragePool ─ y

Not for MaxPool: whether it lets a NaN through depends on where the window ends. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_AMOUNTS_AS_INPUT = 11


def _some(pads) -> bool:
    return bool(pads) and any(pads)


def _padding(p):
    return {"pads": p.attribute("pads", where=_some), "auto_pad": p.attribute(where=lambda how: how == "NOTSET")}


@rule("pad-before-conv", fidelity="rounding")
def conv(p):
    return p.Conv(p.x, p.w, p.optional(p.b), **_padding(p))


@rule("pad-before-average-pool", fidelity="rounding")
def average_pool(p):
    return p.AveragePool(p.x, count_include_pad=1, ceil_mode=p.attribute(where=lambda v: not v), **_padding(p))


def _padded(op, m):
    half = len(m.pads) // 2
    pads = [0, 0, *m.pads[:half], 0, 0, *m.pads[half:]]
    if op.opset < _AMOUNTS_AS_INPUT:
        return op.Pad(m.x, pads=pads, mode="constant", value=0.0)
    return op.Pad(m.x, np.array(pads, np.int64), number(m.x, 0), mode="constant")


@conv.replace
def _(op, m):
    return op.Conv(_padded(op, m), m.w, m.b, like=m.root, pads=None)


@average_pool.replace
def _(op, m):
    return op.AveragePool(_padded(op, m), like=m.root, pads=None)


for one in (conv, average_pool):
    one.require("it is floating point")(lambda m: is_float(m.x))


def _input(g):
    spatial = g.integer(1, 2)
    x = g.input([g.integer(1, 2), 2, *(g.integer(3, 5) for _ in range(spatial))])
    return x, spatial, [g.integer(0, 1) for _ in range(2 * spatial - 1)] + [1]


@conv.example
def _(g):
    x, spatial, pads = _input(g)
    g.output(g.Conv(x, g.constant(g.normal(3, 2, *[2] * spatial)), pads=pads))


@average_pool.example
def _(g):
    x, spatial, pads = _input(g)
    g.output(g.AveragePool(x, kernel_shape=[2] * spatial, pads=pads, count_include_pad=1))


class DecomposePadding(Substitution):
    """Pad by a node of its own before Conv and AveragePool."""

    name = "decompose-padding"
    rules = (conv, average_pool)
