"""Write a deformable convolution as a GridSample and a Conv of kernel 1.

    x, W, offset, mask ─ DeformConv ─ y    becomes    x, places + offset ─ GridSample ─ Mul(mask) ─ Conv(W) ─ y

The k elements of each window, taken where the offsets say, become channels (Dai et al., arXiv:1703.06211, equation 2;
the mask is of Zhu et al., arXiv:1811.11168). Groups of offsets join the batch. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import reshape, take, transpose
from graphopt_passes.scalars import is_float
from graphopt_passes.windows import window

_LINEAR_SINCE = 20
"""Opset from which the mode of GridSample is called linear."""


@rule("sample-then-conv", fidelity="rounding")
def deform(p):
    return p.DeformConv(p.x, p.w, p.offset, p.optional(p.b), p.optional(p.mask))


@deform.require("it is floating point with two spatial axes, and its sizes are known")
def _(m):
    found = window(m.root)
    return is_float(m.x) and found is not None and found.rank == 2 and static_shape(m.w) is not None


@deform.replace
def _(op, m):
    found, dtype = window(m.root), m.x.dtype.numpy()
    batch, channels, height, width = static_shape(m.x)
    outputs, inputs, *_ = static_shape(m.w)
    parts, volume, count = attribute(m.root, "offset_group"), math.prod(found.kernel), math.prod(found.outputs)
    rows, columns = found.places(0), found.places(1)
    y = np.broadcast_to(rows.T[:, None, :, None], (*found.kernel, *found.outputs))
    x = np.broadcast_to(columns.T[None, :, None, :], (*found.kernel, *found.outputs))
    places = np.stack([x, y], axis=-1).reshape(1, volume, count, 2)
    sizes = np.array([width, height])
    moves = reshape(op, m.offset, [batch * parts, volume, 2, count])
    moves = take(op, transpose(op, moves, [0, 1, 3, 2]), [1, 0], 3, 2)
    grid = op.Add(op.Mul(moves, (2 / sizes).astype(dtype)), ((2 * places + 1) / sizes - 1).astype(dtype))
    sampled = op.GridSample(
        reshape(op, m.x, [batch * parts, channels // parts, height, width]),
        reshape(op, grid, [batch * parts, volume * found.outputs[0], found.outputs[1], 2]),
        mode="linear" if op.opset >= _LINEAR_SINCE else "bilinear", padding_mode="zeros", align_corners=0,
    )  # fmt: skip
    if m.mask is not None:
        shape = [batch * parts, 1, volume * found.outputs[0], found.outputs[1]]
        sampled = op.Mul(sampled, reshape(op, m.mask, shape))
    stacked = reshape(op, sampled, [batch, channels * volume, *found.outputs])
    kernel = reshape(op, m.w, [outputs, inputs * volume, 1, 1])
    return op.Conv(stacked, kernel, m.b, group=attribute(m.root, "group"), kernel_shape=[1, 1])


@deform.example
def _(g):
    g.since(19)
    groups, parts = g.pick([1, 2]), g.pick([1, 2])
    batch, kernel = g.integer(1, 2), [g.integer(1, 3), g.integer(1, 3)]
    strides, dilations, pads = ([g.integer(low, 2) for _ in range(n)] for low, n in ((1, 2), (1, 2), (0, 4)))
    sizes = [g.integer(5, 7), g.integer(5, 7)]
    outputs = [
        (sizes[axis] + pads[axis] + pads[2 + axis] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(2)
    ]
    x = g.input([batch, 4, *sizes], static=True, finite=True)
    weight = g.constant(g.normal(2 * groups, 4 // groups, *kernel))
    offset = g.Tanh(g.input([batch, parts * math.prod(kernel) * 2, *outputs], static=True, finite=True))
    more = [g.constant(g.normal(2 * groups))] if g.flag() else [None]
    more += [g.input([batch, parts * math.prod(kernel), *outputs], static=True, finite=True)] if g.flag() else []
    options = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    inputs = [x, weight, offset, *more]
    while inputs[-1] is None:
        inputs.pop()
    g.output(g.DeformConv(*inputs, group=groups, offset_group=parts, **options), 4)


class DecomposeDeformConv(Substitution):
    """Write DeformConv as GridSample and Conv."""

    name = "decompose-deform-conv"
    rules = (deform,)
