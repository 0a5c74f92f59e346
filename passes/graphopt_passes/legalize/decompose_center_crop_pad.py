"""Crop and pad around the center by Slice and Pad.

    x ─ CenterCropPad(shape) ─ y      becomes      x ─ Slice where it is too large ─ Pad(0) where it is too small ─ y

Of an odd difference the smaller half goes in front (ONNX operator CenterCropPad). Fidelity: exact.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import pad, take


@rule("crop-then-pad", fidelity="exact")
def crop(p):
    return p.CenterCropPad(p.x, p.constant("shape"))


@crop.require("the sizes of its input are known, and no size becomes zero")
def _(m):
    shape = static_shape(m.x)
    return shape is not None and 0 not in shape and min(m.shape.tolist(), default=1) > 0


@crop.replace
def _(op, m):
    shape, value = static_shape(m.x), m.x
    rank = len(shape)
    axes = [axis % rank for axis in attribute(m.root, "axes") or range(rank)]
    before, after = [0] * rank, [0] * rank
    for axis, wanted in zip(axes, m.shape.tolist(), strict=True):
        size = shape[axis]
        start = max(0, size - wanted) // 2
        value = take(op, value, range(start, start + min(size, wanted)), axis, size)
        before[axis] = max(0, wanted - size) // 2
        after[axis] = max(0, wanted - size) - before[axis]
    value = pad(op, value, before, after, dtype=m.x.dtype.numpy())
    return op.Identity(value) if value is m.x else value


@crop.example
def _(g):
    g.since(18)
    shape = [g.integer(1, 6) for _ in range(g.integer(1, 4))]
    axes = g.permutation(len(shape))[: g.integer(1, len(shape))]
    wanted = g.constant(np.array([g.integer(1, 6) for _ in axes], np.int64))
    x = g.input(shape, g.pick([g.FLOAT, g.INT32, g.INT64]), static=True)
    g.output(g.CenterCropPad(x, wanted, axes=axes), len(shape))


class DecomposeCenterCropPad(Substitution):
    """Write CenterCropPad as Slice and Pad."""

    name = "decompose-center-crop-pad"
    rules = (crop,)
