"""Pad by other movements, for backends that lack a mode, an element type, negative amounts or the choice of axes.

    x ─ Pad(reflect, edge, wrap) ─ y    becomes    x ─ Gather(places) for each axis ─ y
    x ─ Pad(constant c) ─ y             becomes    c, x, c ─ Concat for each axis ─ y; a Slice where less than nothing
    x ─ Pad(axes) ─ y                   becomes    x ─ Pad(amounts for all axes) ─ y

Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute, has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.fuse.pad import amounts
from graphopt_passes.parts import reshape, take

_HIGHEST = 4
"""Rank beyond which other axes are joined before a Concat."""
_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
"""Modes of ONNX as numpy calls them."""


def _pad(p, where):
    return p.op("Pad", p.x, p.rest("how"), as_="pad", mode=p.attribute("mode", where=where))


@rule("pad-by-gather", fidelity="exact")
def by_gather(p):
    return _pad(p, lambda mode: mode in _MODES)


@rule("pad-by-concat", fidelity="exact")
def by_concat(p):
    return _pad(p, lambda mode: mode == "constant")


@rule("pad-all-axes", fidelity="exact")
def all_axes(p):
    return _pad(p, lambda mode: True)


for one in (by_gather, by_concat):
    one.require("its amounts are constants and its sizes known")(
        lambda m: amounts(m.pad) is not None and 0 not in (static_shape(m.x) or (0,))
    )
    one.require("something is left of each axis")(lambda m: min(_left(m)) > 0)


def _left(m) -> list[int]:
    before, after = amounts(m.pad)
    return [
        min(size + first, size + last, size + first + last)
        for first, size, last in zip(before, static_shape(m.x), after, strict=True)
    ]


@by_gather.require("no axis is both cut and padded")
def _(m):
    return all(first * last >= 0 for first, last in zip(*amounts(m.pad), strict=True))


@by_concat.require("what it pads with is a constant")
def _(m):
    return not has_input(m.pad, 2) or constant(m.pad.inputs[2]) is not None


@all_axes.require("its axes are given, and they and its amounts are constants")
def _(m):
    return has_input(m.pad, 3) and amounts(m.pad) is not None


@by_gather.replace
def _(op, m):
    value = m.x
    for axis, (first, size, last) in enumerate(
        zip(amounts(m.pad)[0], static_shape(m.x), amounts(m.pad)[1], strict=True)
    ):
        kept = np.arange(max(0, -first), size - max(0, -last))
        places = np.pad(kept, (max(0, first), max(0, last)), mode=_MODES[m.mode])
        value = take(op, value, places, axis, size)
    return op.Identity(value) if value is m.x else value


@by_concat.replace
def _(op, m):
    shape, value, fill = list(static_shape(m.x)), m.x, _fill(m)
    for axis, (first, last) in enumerate(zip(*amounts(m.pad), strict=True)):
        kept = range(max(0, -first), shape[axis] - max(0, -last))
        value = take(op, value, kept, axis, shape[axis])
        shape[axis] = len(kept)
        if max(first, last) > 0:
            value = _between(op, value, shape, axis, (max(0, first), max(0, last)), fill)
            shape[axis] += max(0, first) + max(0, last)
    return op.Identity(value) if value is m.x else value


def _fill(m) -> np.ndarray:
    if has_input(m.pad, 2):
        return constant(m.pad.inputs[2]).numpy().reshape(())
    return np.array(attribute(m.pad, "value") or 0, m.x.dtype.numpy())


def _between(op, value, shape, axis, sides, fill):
    joined = len(shape) > _HIGHEST
    flat = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])] if joined else shape
    place = 1 if joined else axis
    blocks = [np.full([*flat[:place], side, *flat[place + 1 :]], fill) if side else None for side in sides]
    parts = [blocks[0], reshape(op, value, flat) if joined else value, blocks[1]]
    made = op.Concat(*(part for part in parts if part is not None), axis=place)
    return reshape(op, made, [*shape[:axis], shape[axis] + sum(sides), *shape[axis + 1 :]]) if joined else made


@all_axes.replace
def _(op, m):
    before, after = amounts(m.pad)
    value = m.pad.inputs[2] if has_input(m.pad, 2) else None
    return op.Pad(m.x, np.array([*before, *after], np.int64), value, mode=m.mode)


def _example(g, modes, dtypes, low=-1, axes=False, **options):
    shape = [g.integer(2, 4) for _ in range(g.integer(1, 5))]
    mode = g.pick(modes)
    lowest = low if mode == "constant" or g.flag() else 0
    if mode == "constant":
        sides = [g.integer(lowest, 2) if size > 2 else g.integer(0, 2) for size in shape * 2]
    else:
        sides = [g.integer(min(0, lowest), 0) if g.flag() and lowest else g.integer(0, 1) for _ in shape * 2]
        half = len(shape)
        sides[half:] = [abs(b) if a > 0 else b for a, b in zip(sides[:half], sides[half:], strict=True)]
        sides[:half] = [abs(a) if b > 0 else a for a, b in zip(sides[:half], sides[half:], strict=True)]
        sides = [side if shape[place % half] > 2 else max(0, side) for place, side in enumerate(sides)]
    if mode == "wrap":
        g.since(19)
    inputs = [g.constant(np.array(sides, np.int64))]
    if axes:
        g.since(18)
        inputs += [None, g.constant(np.array(g.permutation(len(shape)), np.int64))]
    dtype = g.pick(dtypes)
    g.output(g.Pad(g.input(shape, dtype, static=True), *inputs, mode=mode))


@by_gather.example
def _(g):
    _example(g, list(_MODES), [g.FLOAT, g.INT32, g.INT64])


@by_concat.example
def _(g):
    _example(g, ["constant"], [g.FLOAT, g.INT32, g.INT64])


@all_axes.example
def _(g):
    _example(g, ["constant", "edge"], [g.FLOAT], low=0, axes=True)


class DecomposePad(Substitution):
    """Pad by Gather or Concat."""

    name = "decompose-pad"
    rules = (by_gather, by_concat, all_axes)
