"""Name a pooling whose one window holds the whole input what it is.

    x[N, C, 7, 7] ─ AveragePool(7×7) ─ y                       becomes      x ─ GlobalAveragePool ─ y
    x[N, C, 7, 7] ─ AveragePool(1280×1280, ceil_mode) ─ y      becomes      x ─ GlobalAveragePool ─ y
    x[N, C, 7, 7] ─ MaxPool(9×9, pads=1) ─ y                   becomes      x ─ GlobalMaxPool ─ y

TensorRT refuses windows that are much larger than what they slide over, as some exporters write. Holds where padding
is not counted, or there is none. Fidelity: rounding, for averages; maxima are exact.
"""

from __future__ import annotations

import math

from graphopt.ir.edit import is_read
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float
from graphopt_passes.windows import window


def _holds_everything(node) -> bool:
    found = window(node)
    if found is None or math.prod(found.outputs) != 1:
        return False
    return bool((found.counts(pads=False) == math.prod(found.sizes)).all())


@rule("average-of-all", fidelity="rounding")
def average(p):
    return p.AveragePool(p.x)


@average.require("its one window holds the whole input, and nothing else counts")
def _(m):
    if not is_float(m.x) or not _holds_everything(m.root):
        return False
    found = window(m.root)
    counted = found.counts(pads=bool(attribute(m.root, "count_include_pad")))
    return bool((counted == math.prod(found.sizes)).all())


@average.replace
def _(op, m):
    return op.GlobalAveragePool(m.x)


@average.example
def _(g):
    size = [g.integer(1, 6), g.integer(1, 6)]
    larger = g.pick([0, 0, 2, 100])
    kernel = [one + larger for one in size]
    ceil = {"ceil_mode": 1} if larger else {}
    if larger:
        g.since(19)
    x = g.input([g.integer(1, 2), 3, *size], static=True)
    g.output(g.AveragePool(x, kernel_shape=kernel, strides=kernel, count_include_pad=g.pick([0, 1]), **ceil))


@rule("maximum-of-all", fidelity="exact")
def maximum(p):
    return p.MaxPool(p.x)


@maximum.require("its one window holds the whole input, and nobody asks where the maximum is")
def _(m):
    places = m.root.outputs[1:]
    unread = not any(is_read(value) or value.is_graph_output() for value in places)
    return unread and is_float(m.x) and _holds_everything(m.root)


@maximum.replace
def _(op, m):
    return op.GlobalMaxPool(m.x)


@maximum.example
def _(g):
    size, more = [g.integer(1, 6), g.integer(1, 6)], g.pick([0, 1])
    x = g.input([g.integer(1, 2), 3, *size], static=True, finite=True)
    kernel = [one + 2 * more for one in size]
    g.output(g.MaxPool(x, kernel_shape=kernel, pads=[more] * 4))


class FuseGlobalPool(RewritePass):
    """Name a pooling whose one window holds the whole input what it is."""

    name = "fuse-global-pool"
    rules = (average, maximum)
