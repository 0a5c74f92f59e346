"""Sample an image at computed places by Gather and arithmetic.

    x, grid ─ GridSample ─ y      becomes      Σ over neighbors of  Gather(x as [places, channels], neighbor) · weight

A coordinate g from −1 to 1 is the place g·S/2 + (S − 1)/2, with align_corners g·(S − 1)/2 + (S − 1)/2. Each axis has
one neighbor for nearest, two for linear and four for cubic, with the weights of the triangle or of Keys' kernel for
a = −3/4 (IEEE Trans. ASSP 29, 1981, equation 4); a neighbor outside weighs nothing, or is the border, or is reflected
at it, which may take several turns (ONNX operator GridSample). The number of an element is computed in int32, for
those of half precision end at 2048. Fidelity: rounding.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, take, transpose
from graphopt_passes.scalars import is_float, number

_KEYS = -0.75
_ROUND_SINCE = 11
_MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""Modes of older versions by their names in newer ones."""
_MOST = 16
"""Neighbors of one place up to which they are written out."""
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}


@dataclass(frozen=True)
class _Axis:
    """One axis of the image: its size, its coordinates with their type, and how to treat what lies outside."""

    size: int
    padding: str
    aligned: bool
    grid: ir.Value

    def number(self, content: float) -> np.ndarray:
        return number(self.grid, content)


def _pattern(domain):
    return lambda p: p.op("GridSample", p.x, p.grid, domain=domain)


sample = rule("sample-by-gather", fidelity="rounding")(_pattern(""))
contrib = rule("contrib-sample-by-gather", fidelity="rounding")(_pattern("com.microsoft"))

for one in (sample, contrib):
    one.require("it is floating point, and its sizes are known")(
        lambda m: (
            is_float(m.grid) and is_float(m.x) and m.x.dtype == m.grid.dtype
            and all(len(static_shape(value) or ()) > 3 and 0 not in static_shape(value) for value in (m.x, m.grid))
        )
    )  # fmt: skip
    one.require(f"an element has at most {_MOST} neighbors")(lambda m: _TAPS[_mode(m.root)] ** (_rank(m)) <= _MOST)


def _mode(node) -> str:
    name = str(attribute(node, "mode") or "linear")
    return _MODES.get(name, name)


def _rank(m) -> int:
    return len(static_shape(m.x)) - 2


@sample.replace
def _(op, m):
    return _sampled(op, m)


@contrib.replace
def _(op, m):
    return _sampled(op, m)


def _sampled(op, m):
    if op.opset < _ROUND_SINCE and _mode(m.root) == "nearest":
        raise op.decline("the opset has no Round")
    (batch, channels, *sizes), (_, *outputs, rank) = static_shape(m.x), static_shape(m.grid)
    count, mode = math.prod(outputs), _mode(m.root)
    padding = str(attribute(m.root, "padding_mode") or "zeros")
    aligned = bool(attribute(m.root, "align_corners"))
    flat = reshape(op, m.grid, [batch * count, rank])
    taps = []
    for axis, size in enumerate(sizes):
        column = take(op, flat, [rank - 1 - axis], 1, rank)
        taps.append(_neighbors(op, _Axis(size, padding, aligned, m.grid), column, mode))
    image = reshape(op, transpose(op, m.x, [0, *range(2, rank + 2), 1]), [batch * math.prod(sizes), channels])
    steps = [math.prod(sizes[axis + 1 :]) for axis in range(rank)]
    starts = np.repeat(np.arange(batch, dtype=np.int32) * math.prod(sizes), count)[:, None]
    parts = []
    for chosen in itertools.product(*taps):
        places = [
            op.Mul(place, np.array(step, np.int32)) if step > 1 else place
            for (place, _), step in zip(chosen, steps, strict=True)
        ]
        where = functools.reduce(op.Add, places)
        where = where if batch == 1 else op.Add(where, starts)
        found = op.Gather(image, reshape(op, where, [batch * count]), axis=0)
        weights = [weight for _, weight in chosen if weight is not None]
        parts.append(op.Mul(found, functools.reduce(op.Mul, weights)) if weights else found)
    total = functools.reduce(op.Add, parts)
    back = transpose(op, reshape(op, total, [batch, count, channels]), [0, 2, 1])
    return reshape(op, back, [batch, channels, *outputs])


def _neighbors(op, axis, column, mode):
    """Pairs of a place (int32, [P, 1]) and its weight ([P, 1], None for 1) along one axis."""
    half = (axis.size - (1 if axis.aligned else 0)) / 2
    place = op.Add(op.Mul(column, axis.number(half)), axis.number((axis.size - 1) / 2))
    if mode == "nearest":
        return [_tap(op, axis, op.Round(place), None)]
    low = op.Floor(place)
    rest = op.Sub(place, low)
    weights = _linear(op, axis, rest) if mode == "linear" else _cubic(op, axis, rest)
    first = 0 if mode == "linear" else -1
    return [
        _tap(op, axis, op.Add(low, axis.number(first + index)), weight) for index, weight in enumerate(weights)
    ]  # fmt: skip


def _tap(op, axis, place, weight):
    """A whole place brought back into the image, with its weight."""
    if axis.padding == "reflection":
        place = _reflected(op, axis, place)
    inside = op.Min(op.Max(place, axis.number(0)), axis.number(axis.size - 1))
    if axis.padding == "zeros":
        # places are whole, so 1 − distance is 1 inside and nothing is left of it outside
        mask = op.Relu(op.Sub(axis.number(1), op.Abs(op.Sub(place, inside))))
        weight = mask if weight is None else op.Mul(weight, mask)
    return op.Cast(inside, to=int(ir.DataType.INT32)), weight


def _reflected(op, axis, place):
    """L − |L − (d mod 2L)| for the distance d from the first border, a triangular wave of the length L of the image."""
    low, length = (0.0, axis.size - 1.0) if axis.aligned else (-0.5, float(axis.size))
    if length == 0:
        return place
    turns = op.Mul(op.Sub(place, axis.number(low)), axis.number(0.5 / length))
    part = op.Mul(op.Sub(turns, op.Floor(turns)), axis.number(2 * length))
    folded = op.Sub(axis.number(length + low), op.Abs(op.Sub(part, axis.number(length))))
    return op.Floor(op.Add(folded, axis.number(0.5)))


def _linear(op, axis, rest):
    return op.Sub(axis.number(1), rest), rest


def _cubic(op, axis, rest):
    def polynomial(distance, *factors):
        return functools.reduce(
            lambda total, factor: op.Add(op.Mul(total, distance), axis.number(factor)), factors[1:],
            axis.number(factors[0]),
        )  # fmt: skip

    a, other = _KEYS, op.Sub(axis.number(1), rest)
    beyond, near = (a, -5 * a, 8 * a, -4 * a), (a + 2, -(a + 3), 0, 1)
    return (
        polynomial(op.Add(rest, axis.number(1)), *beyond), polynomial(rest, *near), polynomial(other, *near),
        polynomial(op.Add(other, axis.number(1)), *beyond),
    )  # fmt: skip


def _example(g, modes, domain, rank):
    batch, channels = g.integer(1, 2), g.integer(1, 3)
    x = g.input([batch, channels, *(g.integer(2, 5) for _ in range(rank))], static=True, finite=True)
    shape = [batch, *(g.integer(2, 4) for _ in range(rank)), rank]
    # irregular places: on a border between two elements, rounding decides which one is taken
    grid = g.Mul(g.Tanh(g.input(shape, static=True, finite=True)), g.constant(g.positive(*shape)))
    options = {"mode": g.pick(modes), "padding_mode": g.pick(["zeros", "border", "reflection"])}
    g.output(g.GridSample(x, grid, align_corners=g.integer(0, 1), domain=domain, **options), rank + 2)


@sample.example
def _(g):
    g.since(16)
    rank = g.integer(2, 3) if g.opset >= 20 else 2
    modes = ["linear", "nearest"] if rank == 3 else ["linear", "nearest", "cubic"]
    modes = modes if g.opset >= 20 else ["bilinear", "nearest", "bicubic"]
    _example(g, modes, "", rank)


@contrib.example
def _(g):
    _example(g, ["bilinear", "nearest", "bicubic"], "com.microsoft", 2)


class DecomposeGridSample(Substitution):
    """Write GridSample as Gather and arithmetic."""

    name = "decompose-grid-sample"
    rules = (sample, contrib)
