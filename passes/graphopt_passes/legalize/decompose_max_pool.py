"""Maxima of windows without the options that backends lack: dilations, three axes, integers and places.

    x ─ MaxPool([a, b, c]) ─ y    becomes    x ─ Reshape ─ MaxPool([b, c]) ─ Reshape ─ MaxPool([a, 1]) ─ Reshape ─ y
    x ─ MaxPool(dilations) ─ y    becomes    for each axis the Max of as many Slices as the kernel is long
    x ─ MaxPool ─ y, places       becomes    the same over all axes at once, with a Where for where each is from
    x ─ MaxPool of 8 bits ─ y     becomes    x ─ Cast(float) ─ MaxPool ─ Cast ─ y
    x ─ GlobalMaxPool ─ y         becomes    x ─ ReduceMax ─ y

What lies in the padding is never read: another place of the same window takes its turn. The first of equal elements is
the one whose place counts; storage_order tells which axis runs fastest in it. Windows over maxima of windows are
windows, so axes may be taken one after another. Holds for numbers: runtimes differ in what a maximum with NaN is, and
in which zero of two is the larger. Fidelity: rounding.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.decompose_average_pool import geometry, pooled_input
from graphopt_passes.parts import reshape, take
from graphopt_passes.scalars import rank_of
from graphopt_passes.windows import window

_LONGEST = 64
"""Elements of a window up to which Slices are taken one by one."""
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
_KNOWN = "the sizes of its input are known"


@rule("pool-by-planes", fidelity="rounding")
def by_planes(p):
    return p.MaxPool(p.x)


@rule("max-of-slices", fidelity="rounding")
def slices(p):
    return p.MaxPool(p.x)


@rule("pool-bytes-in-float", fidelity="exact")
def in_float(p):
    return p.MaxPool(p.x)


@in_float.require("it is of integers of 8 bits")
def _(m):
    return m.x.dtype in _BYTES


@in_float.replace
def _(op, m):
    pooled = op.MaxPool(op.Cast(m.x, to=int(ir.DataType.FLOAT)), like=m.root)
    return op.Cast(pooled, to=int(m.x.dtype))


@rule("max-with-places", fidelity="rounding")
def places(p):
    pool = p.op("MaxPool", p.x, where=lambda node: len(node.outputs) == 2, as_="pool")
    return pool[0], pool[1]


for one in (by_planes, slices, places):
    one.require(_KNOWN)(lambda m: window(m.root) is not None)


@by_planes.require("it has three spatial axes")
def _(m):
    return window(m.root).rank == 3


@slices.require(f"its kernel has at most {_LONGEST} elements on each axis, and every window has one in the input")
def _(m):
    found = window(m.root)
    return max(found.kernel) <= _LONGEST and bool(found.counts(pads=False).all())


@places.require(f"its kernel has at most {_LONGEST} elements, and every window has one in the input")
def _(m):
    found = window(m.root)
    return math.prod(found.kernel) <= _LONGEST and bool(found.counts(pads=False).all())


@by_planes.replace
def _(op, m):
    found, (batch, channels, *sizes) = window(m.root), static_shape(m.x)
    planes = reshape(op, m.x, [batch, channels * sizes[0], *sizes[1:]])
    inner = _pool(op, m, planes, found, (1, 2))
    deep = reshape(op, inner, [batch, channels, sizes[0], math.prod(found.outputs[1:])])
    outer = _pool(op, m, deep, found, (0,))
    return reshape(op, outer, [batch, channels, *found.outputs])


def _pool(op, m, x, found, axes):
    def along(values, rest):
        return [values[axis] for axis in axes] + [rest] * (2 - len(axes))

    given = {"kernel_shape": along(found.kernel, 1), "strides": along(found.strides, 1)}
    if any(found.dilations[axis] > 1 for axis in axes):
        given["dilations"] = along(found.dilations, 1)
    pads = along(found.before, 0) + along(found.after, 0)
    if any(pads):
        given["pads"] = pads
    if attribute(m.root, "ceil_mode"):
        given["ceil_mode"] = 1
    return op.MaxPool(x, **given)


def _inside(found, axis) -> np.ndarray:
    """Places that windows read, [outputs, kernel], those in the padding replaced by others of the same window."""
    read = found.places(axis)
    inside = (read >= 0) & (read < found.sizes[axis])
    first, last = inside.argmax(axis=1), inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    rows = np.arange(len(read))
    return np.clip(read, read[rows, first][:, None], read[rows, last][:, None])


@slices.replace
def _(op, m):
    found, value = window(m.root), m.x
    for axis in range(found.rank):
        read = _inside(found, axis)
        parts = [take(op, value, column, axis + 2, found.sizes[axis]) for column in read.T]
        value = functools.reduce(op.Max, parts)
    return op.Identity(value) if value is m.x else value


@places.replace
def _(op, m):
    found = window(m.root)
    batch, channels, *sizes = static_shape(m.x)
    read = [_inside(found, axis) for axis in range(found.rank)]
    columns = attribute(m.pool, "storage_order")
    steps = [math.prod(sizes[:axis] if columns else sizes[axis + 1 :]) for axis in range(found.rank)]
    best = where = None
    for offset in found.offsets():
        value, place = m.x, np.zeros((), np.int64)
        for axis, index in enumerate(offset):
            value = take(op, value, read[axis][:, index], axis + 2, sizes[axis])
            place = np.add.outer(place, read[axis][:, index] * steps[axis])
        place = place[None, None]
        if best is None:
            best, where = value, place
        else:
            where = op.Where(op.Greater(value, best), place, where)
            best = op.Max(value, best)
    planes = np.arange(batch * channels).reshape(batch, channels, *[1] * found.rank) * math.prod(sizes)
    if isinstance(where, np.ndarray):
        where = op.constant(np.broadcast_to(where + planes, (batch, channels, *found.outputs)).astype(np.int64))
        return (op.Identity(best) if best is m.x else best), op.Identity(where)
    return best, op.Add(where, planes.astype(np.int64))


@rule("global-max", fidelity="rounding")
def global_max(p):
    return p.GlobalMaxPool(p.x)


@global_max.require("its rank is known")
def _(m):
    return (rank_of(m.x) or 0) > 2


@global_max.replace
def _(op, m):
    return reduce(op, "ReduceMax", m.x, list(range(2, rank_of(m.x))))


@by_planes.example
def _(g):
    g.output(g.MaxPool(pooled_input(g, 3, finite=True), **geometry(g, 3)))


@in_float.example
def _(g):
    x = g.input([1, g.integer(1, 3), g.integer(4, 7), g.integer(4, 7)], g.pick([2, 3]))
    g.output(g.MaxPool(x, **geometry(g, 2)))


@slices.example
def _(g):
    rank = g.integer(1, 3)
    options = geometry(g, rank)
    if "auto_pad" not in options and g.flag():
        options["dilations"] = [g.integer(1, 2) if size < 3 else 1 for size in options["kernel_shape"]]
    g.output(g.MaxPool(pooled_input(g, rank, finite=True), **options))


@places.example
def _(g):
    rank = g.integer(1, 3)
    options = geometry(g, rank)
    # onnxruntime counts places as if the kernel did not dilate where it has one axis
    for name in g.MaxPool(pooled_input(g, rank, finite=True), outputs=2, storage_order=0, **options):
        g.output(name)


@global_max.example
def _(g):
    g.output(g.GlobalMaxPool(g.input([g.integer(1, 5) for _ in range(g.integer(3, 5))], finite=True)))


class DecomposeMaxPool(Substitution):
    """Take maxima of windows without dilations, three axes or places."""

    name = "decompose-max-pool"
    rules = (by_planes, slices, in_float, places, global_max)
