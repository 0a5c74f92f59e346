"""Put the elements that a MaxPool took back where they are from.

    x, places ─ MaxUnpool ─ y    becomes    x, 0 ─ Concat ─ Gather(the one for each place, or the 0) ─ Reshape ─ y
    x, places ─ MaxUnpool ─ y    becomes    0, places, x ─ ScatterElements ─ Reshape ─ y

The first where places are constants, which then must differ. Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import constant, static_shape
from graphopt.ir.schema import attribute, has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape


def _pattern(p):
    return p.MaxUnpool(p.x, p.places, p.rest("size"), as_="pool")


@rule("unpool-by-gather", fidelity="exact")
def by_gather(p):
    return _pattern(p)


@rule("unpool-by-scatter", fidelity="exact")
def by_scatter(p):
    return _pattern(p)


def _shapes(m) -> tuple[list[int], list[int]] | None:
    """Shape of the result, and the shape that places count in; None where they are not known.

    Without output_shape both are what the pooling had: (n − 1) · stride + kernel − pads (ONNX operator MaxUnpool).
    Places count in that even where output_shape is larger.
    """
    shape = static_shape(m.x)
    if shape is None or 0 in shape:
        return None
    kernel = attribute(m.pool, "kernel_shape")
    rank = len(kernel)
    strides, pads = list(attribute(m.pool, "strides") or [1] * rank), attribute(m.pool, "pads") or [0] * (2 * rank)
    inner = [
        (shape[axis + 2] - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[rank + axis] for axis in range(rank)
    ]
    counted = [*shape[:2], *inner]
    if not has_input(m.pool, 2):
        return counted, counted
    given = constant(m.pool.inputs[2])
    return None if given is None else ([int(size) for size in given.numpy()], counted)


for one in (by_gather, by_scatter):
    one.require("its sizes are known, and the result is not smaller than what was pooled")(
        lambda m: (
            (found := _shapes(m)) is not None
            and len(found[0]) == len(found[1])
            and all(size >= inner for size, inner in zip(*found, strict=True))
        )
    )


@by_gather.require("its places are constants that differ and lie in the result")
def _(m):
    tensor = constant(m.places)
    if tensor is None:
        return False
    places = tensor.numpy().reshape(-1)
    inside = places.size and places.min() >= 0 and places.max() < math.prod(_shapes(m)[0])
    return bool(inside) and len(np.unique(places)) == len(places)


@by_gather.replace
def _(op, m):
    shape, _ = _shapes(m)
    places = constant(m.places).numpy().reshape(-1)
    source = np.full(math.prod(shape), places.size, np.int64)
    source[places] = np.arange(places.size)
    flat = op.Concat(reshape(op, m.x, [-1]), np.zeros(1, m.x.dtype.numpy()), axis=0)
    return reshape(op, op.Gather(flat, source, axis=0), shape)


@by_scatter.require("the opset has ScatterElements")
def _(m):
    return m.pool.graph is None or m.pool.graph.opset_imports.get("", 1) >= 11


@by_scatter.replace
def _(op, m):
    shape, _ = _shapes(m)
    zeros = np.zeros(math.prod(shape), m.x.dtype.numpy())
    flat = op.ScatterElements(zeros, reshape(op, m.places, [-1]), reshape(op, m.x, [-1]), axis=0)
    return reshape(op, flat, shape)


def _unpool(g, known):
    rank, step = g.integer(1, 3), g.integer(2, 3)
    shape = [g.integer(1, 2), g.integer(1, 2), *(g.integer(2, 3) for _ in range(rank))]
    inner = [*shape[:2], *((size - 1) * step + 2 for size in shape[2:])]
    chosen = np.random.default_rng(g.integer(0, 99)).permutation(math.prod(inner))[: math.prod(shape)]
    places = g.constant(chosen.reshape(shape).astype(np.int64))
    places = places if known else g.Abs(places)
    size = [g.constant(np.array(inner, np.int64))] if g.flag() else []
    x = g.input(shape, static=True)
    g.output(g.MaxUnpool(x, places, *size, kernel_shape=[2] * rank, strides=[step] * rank), rank + 2)


@by_gather.example
def _(g):
    _unpool(g, True)


@by_scatter.example
def _(g):
    _unpool(g, False)


class DecomposeUnpool(Substitution):
    """Write MaxUnpool as a Gather or a ScatterElements."""

    name = "decompose-unpool"
    rules = (by_gather, by_scatter)
