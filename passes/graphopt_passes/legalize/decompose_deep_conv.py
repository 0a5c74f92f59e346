"""Convolve over three axes by planes, for backends without a Conv3D, or without its groups and dilations.

    x[N, C, D, H, W] ─ Conv(W) ─ y      becomes

    x ─ Gather(depths that windows read) ─ Reshape[N, C, D', k, HW] ─ Transpose ─ Reshape[N·D', C·k, H, W] ─
        Conv(W as [O, C·k, h, w]) ─ Reshape[N, D', O, H'W'] ─ Transpose ─ Reshape[N, O, D', H', W'] ─ y

The k depths of a window become channels, next to each other, so that groups stay what they are; depths in the padding
are zeros. Fidelity: rounding.
"""

from __future__ import annotations

import math

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import pad, reshape, take, transpose
from graphopt_passes.scalars import is_float
from graphopt_passes.windows import window


@rule("conv-by-planes", fidelity="rounding")
def conv(p):
    return p.Conv(p.x, p.constant("w"), p.optional(p.b))


@conv.require("it has three spatial axes of known sizes")
def _(m):
    found = window(m.root)
    return is_float(m.x) and found is not None and found.rank == 3


@conv.replace
def _(op, m):
    found, (batch, channels, *_) = window(m.root), static_shape(m.x)
    before, beyond = found.before[0], max(0, found.beyond[0])
    x = pad(op, m.x, [0, 0, before, 0, 0], [0, 0, beyond, 0, 0], dtype=m.x.dtype.numpy())
    depth, planes = found.sizes[0] + before + beyond, math.prod(found.sizes[1:])
    read = (found.places(0) + before).reshape(-1)
    slices = take(op, x, read, 2, depth)
    count, deep = found.outputs[0], found.kernel[0]
    apart = reshape(op, slices, [batch, channels, count, deep, planes])
    merged = reshape(
        op, transpose(op, apart, [0, 2, 1, 3, 4]), [batch * count, channels * deep, *found.sizes[1:]]
    )  # fmt: skip
    outputs, inputs = m.w.shape[:2]
    flat = op.Conv(
        merged, m.w.reshape(outputs, inputs * deep, *found.kernel[1:]), m.b, group=attribute(m.root, "group"),
        kernel_shape=list(found.kernel[1:]), strides=list(found.strides[1:]), dilations=list(found.dilations[1:]),
        pads=[*found.before[1:], *found.after[1:]],
    )  # fmt: skip
    back = reshape(op, flat, [batch, count, outputs, math.prod(found.outputs[1:])])
    return reshape(op, transpose(op, back, [0, 2, 1, 3]), [batch, outputs, *found.outputs])


@conv.example
def _(g):
    groups, a, b = g.pick([1, 1, 2]), g.integer(1, 2), g.integer(1, 2)
    kernel = [g.integer(1, 3) for _ in range(3)]
    x = g.input([g.integer(1, 2), groups * a, *(g.integer(5, 7) for _ in range(3))], static=True)
    bias = [g.constant(g.normal(groups * b))] if g.flag() else []
    options = {"group": groups, "strides": [g.integer(1, size) for size in kernel]}
    if g.flag():
        options |= {"dilations": [g.integer(1, 2) for _ in kernel], "pads": [g.integer(0, 2) for _ in kernel * 2]}
    else:
        options |= {"auto_pad": g.pick(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    g.output(g.Conv(x, g.constant(g.normal(groups * b, a, *kernel)), *bias, **options))


class DecomposeDeepConv(Substitution):
    """Convolve over three axes by one Conv over planes."""

    name = "decompose-deep-conv"
    rules = (conv,)
