"""Pad by a node of its own, for backends whose layers do not pad as they are told.

    x ─ Conv(pads p) ─ y      becomes      x ─ Pad(p, 0) ─ Conv ─ y

Where auto_pad is SAME, the sizes of x must be known. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import pad
from graphopt_passes.scalars import is_float
from graphopt_passes.windows import window


@rule("pad-before-conv", fidelity="rounding")
def conv(p):
    return p.Conv(p.x, p.w, p.optional(p.b))


@conv.require("it is floating point and pads by a known amount")
def _(m):
    return is_float(m.x) and any(_amounts(m.root))


def _amounts(node) -> list[int]:
    """Elements before and after each spatial axis; empty where they are not known."""
    if attribute(node, "auto_pad") == "NOTSET":
        return list(attribute(node, "pads") or [])
    found = window(node)
    return [] if found is None else [*found.before, *found.after]


@conv.replace
def _(op, m):
    amounts = _amounts(m.root)
    half = len(amounts) // 2
    padded = pad(op, m.x, [0, 0, *amounts[:half]], [0, 0, *amounts[half:]], dtype=m.x.dtype.numpy())
    return op.Conv(padded, m.w, m.b, like=m.root, pads=None, auto_pad=None)


@conv.example
def _(g):
    spatial = g.integer(1, 2)
    known = g.flag()
    x = g.input([g.integer(1, 2), 2, *(g.integer(3, 5) for _ in range(spatial))], static=known)
    amounts = {"pads": [g.integer(0, 1) for _ in range(2 * spatial - 1)] + [1]}
    options = {"auto_pad": g.pick(["SAME_UPPER", "SAME_LOWER"])} if known and g.flag() else amounts
    g.output(g.Conv(x, g.constant(g.normal(3, 2, *[2] * spatial)), **options))


class DecomposePadding(Substitution):
    """Pad by a node of its own before Conv."""

    name = "decompose-padding"
    rules = (conv,)
