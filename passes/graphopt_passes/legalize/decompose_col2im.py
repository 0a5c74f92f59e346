"""Add columns up to an image by a ConvTranspose.

    x[N, C·K, L] ─ Col2Im ─ y    becomes    x ─ Reshape[N, C·K, l, m] ─ ConvTranspose(element k of a window is 1) ─ y

A ConvTranspose adds up windows that overlap, as Col2Im does (ONNX operator Col2Im); each channel has K inputs and one
output. Holds for numbers: zero times infinity is none. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import pad, reshape
from graphopt_passes.scalars import is_float


@rule("columns-by-conv-transpose", fidelity="rounding")
def columns(p):
    return p.Col2Im(p.x, p.constant("image"), p.constant("block"))


@columns.require("it is floating point of known sizes")
def _(m):
    return is_float(m.x) and static_shape(m.x) is not None


@columns.replace
def _(op, m):
    batch, stacked, _ = static_shape(m.x)
    block, image, rank = m.block.tolist(), m.image.tolist(), len(m.block)
    volume, dtype = math.prod(block), m.x.dtype.numpy()
    channels = stacked // volume
    strides, dilations = (list(attribute(m.root, name) or [1] * rank) for name in ("strides", "dilations"))
    pads = list(attribute(m.root, "pads") or [0] * (2 * rank))
    extents = [step * (size - 1) + 1 for step, size in zip(dilations, block, strict=True)]
    counts = [
        (image[axis] + pads[axis] + pads[rank + axis] - extents[axis]) // strides[axis] + 1 for axis in range(rank)
    ]
    rests = [
        image[axis] + pads[axis] + pads[rank + axis] - (counts[axis] - 1) * strides[axis] - extents[axis]
        for axis in range(rank)
    ]
    # what the windows do not reach at the end is zero: cut less there, and the rest is padding
    cuts = [max(0, pads[rank + axis] - rests[axis]) for axis in range(rank)]
    more = [max(0, rests[axis] - pads[rank + axis]) for axis in range(rank)]
    kernel = np.tile(np.eye(volume, dtype=dtype).reshape(volume, 1, *block), (channels, 1, *[1] * rank))
    made = op.ConvTranspose(
        reshape(op, m.x, [batch, stacked, *counts]), kernel, group=channels, kernel_shape=block, strides=strides,
        dilations=dilations, pads=pads[:rank] + cuts,
    )  # fmt: skip
    return pad(op, made, [0] * (rank + 2), [0, 0, *more], dtype=dtype)


@columns.example
def _(g):
    g.since(18)
    rank = g.integer(1, 2)
    block, image = ([g.integer(low, high) for _ in range(rank)] for low, high in ((1, 3), (5, 8)))
    # onnxruntime 1.31 reads other elements than the standard says where one axis is dilated
    strides, dilations = ([g.integer(1, most) for _ in range(rank)] for most in (2, rank))
    pads = [g.integer(0, 1) for _ in range(2 * rank)]
    counts = [
        (image[axis] + pads[axis] + pads[rank + axis] - dilations[axis] * (block[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(rank)
    ]
    x = g.input([g.integer(1, 2), g.integer(1, 2) * math.prod(block), math.prod(counts)], static=True, finite=True)
    sizes = [g.constant(np.array(one, np.int64)) for one in (image, block)]
    g.output(g.Col2Im(x, *sizes, strides=strides, dilations=dilations, pads=pads), rank + 2)


class DecomposeCol2Im(Substitution):
    """Write Col2Im as a ConvTranspose."""

    name = "decompose-col2im"
    rules = (columns,)
