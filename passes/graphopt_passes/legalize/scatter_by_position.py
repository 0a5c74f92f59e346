"""Every way to write elements as one Gather out of the old rows and the new ones.

    ScatterElements(x, i, u, axis)             becomes      Gather(Concat(rows of x, rows of u), p), reshaped
    ScatterND(x, i, u)                         becomes      the same
    Scatter*(x, i, u, reduction) constant i    becomes      x ∘ Gather(Concat(u, e), p₁) ∘ Gather(Concat(u, e), p₂) …
    Scatter*(x, i, u, reduction)               becomes      x ∘ Reduce(Where(iₖ = row, uₖ, e), k)
    TensorScatter(x, u, w, axis)               becomes      ScatterElements(x, w + 0 … n - 1, u, axis)

p says for each row whether it is kept (row) or the last update that writes it (rows + k); where indices are computed at
run time, p = max over k of (iₖ = row ? rows + k : row), in int32. ∘ is the reduction and e what it leaves alone; one
term for each time that a row is written to, so that terms are taken in the order of ONNX's loop (ScatterND-18). Max and
min take x itself for e. Fidelity: exact without a reduction, rounding with one (max and min hold for numbers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.positions import (
    Positions,
    element_rows,
    held,
    nd_rows,
    reshaped,
    shape_or_decline,
    take,
    whole,
)
from graphopt_passes.scalars import is_float, number

_LAYERS = 16
"""Writes to one row beyond which a constant scatter is not unrolled."""
_PAIRS = 1 << 20
"""Pairs of a row and an update (elements, with a reduction) beyond which they are not all compared."""
_COMBINED = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}
_REDUCED = {"add": "ReduceSum", "mul": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}
_KINDS = ("ScatterElements", "Scatter", "ScatterND")


def _none(how) -> bool:
    return how in (None, "none")


def _pattern(p):
    return p.op(_KINDS, p.x, p.index, p.updates)


@rule("scatter-by-position", fidelity="exact")
def scatter(p):
    return _pattern(p)


@rule("scatter-layers", fidelity="rounding")
def layers(p):
    return _pattern(p)


@rule("scatter-pairs", fidelity="rounding")
def pairs(p):
    return _pattern(p)


@rule("tensor-scatter", fidelity="exact")
def tensor(p):
    return p.TensorScatter(p.x, p.updates, p.optional(p.first))


@scatter.require("it has no reduction")
def _(m):
    return _none(attribute(m.root, "reduction"))


for _one in (layers, pairs):
    _one.require("it has a reduction")(lambda m: not _none(attribute(m.root, "reduction")))
    _one.require("it is of numbers")(lambda m: m.x.dtype != ir.DataType.BOOL)

layers.require("its indices are constant")(lambda m: held(m.index) is not None)
pairs.require("its indices are computed at run time")(lambda m: held(m.index) is None)


@dataclass(frozen=True)
class _Scatter:
    """A scatter of rows.

    Attributes:
        data: [count, *tail].
        updates: [writes, *tail].
        positions: the row that each update writes to.
        dims: of the result.
    """

    data: ir.Value
    updates: ir.Value
    positions: Positions
    dims: tuple[int, ...]
    count: int
    writes: int
    tail: list[int]


def _seen(op, m) -> _Scatter:
    dims, shape = shape_or_decline(op, m.x, "the data"), shape_or_decline(op, m.index, "the indices")
    positions: Positions
    if m.root.op_type == "ScatterND":
        positions, count = nd_rows(op, m.index, shape, dims)
        writes = math.prod(shape[:-1])
    else:
        positions = element_rows(op, m.index, shape, dims, attribute(m.root, "axis") % len(dims))
        count, writes = math.prod(dims), math.prod(shape)
    wide = math.prod(dims) // count
    tail = [wide] if wide > 1 else []
    data, updates = reshaped(op, m.x, [count, *tail]), reshaped(op, m.updates, [writes, *tail])
    return _Scatter(data, updates, positions, dims, count, writes, tail)


def _hits(op, s: _Scatter, each: int) -> ir.Value:
    """[count, writes]: whether an update writes to a row."""
    if s.count * s.writes * each > _PAIRS:
        raise op.decline(f"its indices are computed, and {s.count} rows by {s.writes} updates are too many to compare")
    rows = np.arange(s.count, dtype=np.int32).reshape(-1, 1)
    hits: ir.Value = op.Equal(reshaped(op, s.positions, (1, s.writes)), rows)
    return hits


@scatter.replace
def _(op, m):
    s = _seen(op, m)
    both = op.Concat(s.data, s.updates, axis=0)
    if isinstance(s.positions, np.ndarray):
        chosen = np.arange(s.count)
        chosen[s.positions] = s.count + np.arange(s.writes)
        return reshaped(op, take(op, both, chosen), s.dims)
    rows = np.arange(s.count, dtype=np.int32).reshape(-1, 1)
    written = (s.count + np.arange(s.writes, dtype=np.int32)).reshape(1, -1)
    chosen = reduce(op, "ReduceMax", op.Where(_hits(op, s, 1), written, rows), [1], keepdims=False)
    return reshaped(op, take(op, both, chosen), s.dims)


@layers.replace
def _(op, m):
    s, how = _seen(op, m), attribute(m.root, "reduction")
    turn = _turns(s.positions, s.count)
    if turn.max() >= _LAYERS:
        raise op.decline(f"it writes more than {_LAYERS} times to one place")
    if how in ("max", "min"):
        source, untouched = op.Concat(s.updates, s.data, axis=0), s.writes + np.arange(s.count)
    else:
        neutral = np.full([1, *s.tail], -0.0 if how == "add" else 1.0).astype(m.x.dtype.numpy())
        source, untouched = op.Concat(s.updates, neutral, axis=0), np.full(s.count, s.writes)
    total = s.data
    for layer in range(turn.max() + 1):
        chosen = untouched.copy()
        updates = np.flatnonzero(turn == layer)
        chosen[s.positions[updates]] = updates
        total = op.op(_COMBINED[how], total, take(op, source, chosen))
    return reshaped(op, total, s.dims)


def _turns(positions: np.ndarray, count: int) -> np.ndarray:
    """How many earlier updates write to the place that each update writes to."""
    seen = np.zeros(count, np.int64)
    turns = np.zeros(len(positions), np.int64)
    for at, position in enumerate(positions):
        turns[at] = seen[position]
        seen[position] += 1
    return turns


@pairs.replace
def _(op, m):
    s, how = _seen(op, m), attribute(m.root, "reduction")
    summed = how == "add" and is_float(m.x)
    hits = _hits(op, s, 1 if summed else math.prod(s.tail))
    if summed:
        updates = reshaped(op, s.updates, [s.writes, *(s.tail or [1])])
        total = reshaped(op, op.MatMul(op.Cast(hits, to=int(m.x.dtype)), updates), [s.count, *s.tail])
        return reshaped(op, op.Add(s.data, total), s.dims)
    if how in ("max", "min"):
        other = reshaped(op, s.data, [s.count, 1, *s.tail])
    else:
        other = number(m.x, 0 if how == "add" else 1)
    hits = reshaped(op, hits, [s.count, s.writes, 1]) if s.tail else hits
    terms = op.Where(hits, reshaped(op, s.updates, [1, s.writes, *s.tail]), other)
    total = reduce(op, _REDUCED[how], terms, [1], keepdims=False)
    return reshaped(op, op.op(_COMBINED[how], s.data, total), s.dims)


@tensor.replace
def _(op, m):
    dims, shape = shape_or_decline(op, m.x, "the cache"), shape_or_decline(op, m.updates, "the update")
    axis = attribute(m.root, "axis") % len(dims)
    steps = np.arange(shape[axis]).reshape([-1 if at == axis else 1 for at in range(len(dims))])
    first = np.zeros(shape[0], np.int64) if m.first is None else held(m.first)
    column = [-1, *[1] * (len(dims) - 1)]
    if first is not None:
        places = first.reshape(column) + steps
        if attribute(m.root, "mode") == "circular":
            places = places % dims[axis]
        return op.ScatterElements(m.x, np.broadcast_to(places, shape), m.updates, axis=axis)
    places = op.Add(reshaped(op, whole(op, m.first), [shape[0], *column[1:]]), steps.astype(np.int32))
    if attribute(m.root, "mode") == "circular":
        places = op.Mod(places, np.array(dims[axis], np.int32))
    # Expand of int32, which every backend has, written as a sum with zeros
    return op.ScatterElements(m.x, op.Add(places, np.zeros(shape, np.int32)), m.updates, axis=axis)


@scatter.example
def _(g):
    # what several writes to one place leave there is open in the standard, so there is one
    shape = g.shape(least=1, most=3)
    x, size = g.input(shape, g.pick([g.FLOAT, g.INT64, g.BOOL]), static=True), shape[0]
    if g.flag():
        picked = [1, *(g.integer(1, n) for n in shape[1:])]
        updates = g.op("Identity", x)
        updates = g.Slice(updates, *(g.constant(np.array(ends, np.int64)) for ends in ([0] * len(shape), picked)))
        g.output(g.ScatterElements(x, g.indices(-size, size - 1, picked), updates, axis=0))
    else:
        g.output(
            g.ScatterND(x, g.indices(-size, size - 1, [1, 1], long=True), g.Slice(x, g.constant([0]), g.constant([1])))
        )


def _reduced(g, computed, kinds=("add", "mul", "max", "min")):
    g.since(18)
    dtype = g.pick([g.FLOAT, g.INT32])
    shape = g.shape(least=1, most=3)
    x = g.input(shape, dtype, static=True, finite=True)
    how = g.pick(kinds)
    if g.flag():
        axis = g.integer(0, len(shape) - 1)
        picked = [g.integer(1, n) for n in shape]
        index = g.indices(-shape[axis], shape[axis] - 1, picked, computed=computed)
        updates = g.input(picked, dtype, static=True, finite=True)
        g.output(g.ScatterElements(x, index, updates, axis=axis, reduction=how))
    else:
        width, writes = g.integer(1, len(shape)), g.integer(1, 4)
        least = min(shape[:width])
        index = g.indices(-least, least - 1, [writes, width], computed=computed, long=True)
        updates = g.input([writes, *shape[width:]], dtype, static=True, finite=True)
        g.output(g.ScatterND(x, index, updates, reduction=how))


@layers.example
def _(g):
    _reduced(g, computed=False)


@pairs.example
def _(g):
    _reduced(g, computed=True)


@tensor.example
def _(g):
    g.since(24)
    shape = [g.integer(1, 3), *g.shape(least=1, most=3)]
    axis = g.integer(1, len(shape) - 1)
    circular = g.flag()
    written = g.integer(1, shape[axis])
    x = g.input(shape, static=True)
    updates = g.input([written if at == axis else size for at, size in enumerate(shape)], static=True)
    most = 3 * shape[axis] if circular else shape[axis] - written
    first = [g.Cast(g.indices(0, most, shape[:1]), to=g.INT64)] if g.flag() else []
    mode = {"mode": "circular"} if circular else {}
    g.output(g.TensorScatter(x, updates, *first, axis=g.pick([axis, axis - len(shape)]), **mode))


class ScatterByPosition(Substitution):
    """Write elements by picking each from the old or the new ones."""

    name = "scatter-by-position"
    rules = (scatter, layers, pairs, tensor)
