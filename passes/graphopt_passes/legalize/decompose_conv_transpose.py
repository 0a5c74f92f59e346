"""Write ConvTranspose as a Conv, for backends that lack it or one of its options.

    x ─ ConvTranspose(W, strides s) ─ y      becomes      x with s − 1 zeros behind each element ─ Conv(W turned) ─ y

W turned has its spatial axes reversed and, within a group, inputs and outputs exchanged (Dumoulin and Visin,
arXiv:1603.07285, section 4). The Conv pads by d(k − 1) less what the ConvTranspose pads; where that is negative, a
Slice cuts. auto_pad and output_shape come to pads as the ONNX operator says. Holds for numbers: zero times infinity is
none. Fidelity: rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.parts import pad, reshape, take
from graphopt_passes.scalars import is_float


@dataclass(frozen=True)
class Spread:
    """One spatial axis of a ConvTranspose: padding is what it cuts off, `outputs` what is left."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    outputs: int


def spreads(node, kernel) -> list[Spread] | None:
    """The spatial axes of a ConvTranspose with this kernel; None where its input has no known sizes."""
    shape = static_shape(node.inputs[0])
    if shape is None or len(shape) != len(kernel) + 2 or 0 in shape:
        return None
    rank = len(kernel)
    strides, dilations = (list(attribute(node, name) or [1] * rank) for name in ("strides", "dilations"))
    more = list(attribute(node, "output_padding") or [0] * rank)
    how = attribute(node, "auto_pad")
    pads = list(attribute(node, "pads") or [0] * (2 * rank)) if how == "NOTSET" else [0] * (2 * rank)
    wanted = attribute(node, "output_shape")
    found = []
    for axis, (size, length) in enumerate(zip(shape[2:], kernel, strict=True)):
        full = strides[axis] * (size - 1) + more[axis] + (length - 1) * dilations[axis] + 1
        before, after = pads[axis], pads[rank + axis]
        outputs = full - before - after
        if wanted or how.startswith("SAME"):
            outputs = list(wanted)[axis - rank] if wanted else size * strides[axis]
            total = max(0, full - outputs)
            before = total // 2 if how == "SAME_UPPER" else total - total // 2
            after = total - before
            outputs = outputs if wanted else full - total
        found.append(Spread(size, length, strides[axis], dilations[axis], before, after, outputs))
    return found


@rule("transpose-by-conv", fidelity="rounding")
def by_conv(p):
    return p.ConvTranspose(p.x, p.constant("w"), p.optional(p.b))


@by_conv.require("it is floating point, and the sizes of its input are known")
def _(m):
    found = spreads(m.root, m.w.shape[2:])
    return is_float(m.x) and found is not None and min(one.outputs for one in found) > 0


@by_conv.replace
def _(op, m):
    found, shape, dtype = spreads(m.root, m.w.shape[2:]), list(static_shape(m.x)), m.x.dtype.numpy()
    value, pads = m.x, ([], [])
    for axis, one in enumerate(found, 2):
        value = _apart(op, value, shape, axis, one.stride, dtype)
        size = shape[axis] = shape[axis] * one.stride
        reach = one.dilation * (one.kernel - 1)
        before = reach - one.before
        after = one.outputs + reach - size - before
        cut = range(max(0, -before), size - max(0, -after))
        value = take(op, value, cut, axis, size)
        shape[axis] = len(cut)
        for side, amount in zip(pads, (before, after), strict=True):
            side.append(max(0, amount))
    groups = attribute(m.root, "group")
    inputs, outputs, *kernel = m.w.shape
    turned = m.w.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    turned = np.flip(turned.reshape(groups * outputs, inputs // groups, *kernel), tuple(range(2, 2 + len(kernel))))
    return op.Conv(
        value, np.ascontiguousarray(turned), m.b, group=groups, kernel_shape=kernel, pads=pads[0] + pads[1],
        dilations=[one.dilation for one in found],
    )  # fmt: skip


def _apart(op, value, shape, axis, stride, dtype):
    """A value with stride − 1 zeros behind each element of an axis."""
    if stride == 1:
        return value
    rest = math.prod(shape[axis + 1 :])
    rows = reshape(op, value, [math.prod(shape[: axis + 1]), 1, rest])
    padded = pad(op, rows, [0, 0, 0], [0, stride - 1, 0], dtype=dtype)
    return reshape(op, padded, [*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]])


def transpose_example(g, *, dilated, known):
    """A random ConvTranspose, with dilations or input sizes that are known."""
    rank, groups, a, b = g.integer(1, 3), g.pick([1, 1, 2]), g.integer(1, 2), g.integer(1, 2)
    kernel = [g.integer(1, 3) for _ in range(rank)]
    strides = [g.integer(1, 3) for _ in range(rank)]
    x = g.input([g.integer(1, 2), groups * a, *(g.integer(3, 5) for _ in range(rank))], static=known, finite=True)
    bias = [g.constant(g.normal(groups * b))] if g.flag() else []
    options = {"group": groups, "strides": strides}
    if dilated:
        options["dilations"] = [2, *(g.integer(1, 2) for _ in range(rank - 1))]
    how = g.pick(["pads", "output_padding", "SAME"])
    if how == "SAME" and known:
        options["auto_pad"] = g.pick(["SAME_UPPER", "SAME_LOWER"])
    elif how == "pads":
        options["pads"] = [g.integer(0, size // 2) for size in kernel * 2]
    else:
        options["output_padding"] = [g.integer(0, step - 1) for step in strides]
    g.output(g.ConvTranspose(x, g.constant(g.normal(groups * a, b, *kernel)), *bias, **options), rank + 2)


@by_conv.example
def _(g):
    transpose_example(g, dilated=g.flag(), known=True)


class DecomposeConvTranspose(Substitution):
    """Write ConvTranspose as a Conv."""

    name = "decompose-conv-transpose"
    rules = (by_conv,)
