"""Fold a Pad with zeros into the padding of the Conv or AveragePool behind it.

    x ─ Pad(p, 0) ─ Conv(pads q) ─ y                 becomes      x ─ Conv(pads p + q) ─ y
    x ─ Pad(p, 0) ─ AveragePool(pads q) ─ y          becomes      x ─ AveragePool(pads p + q, count_include_pad) ─ y

Holds for zeros around the spatial axes that nothing else reads. A MaxPool pads with the lowest number, not with zero,
so it is left alone. A Pad before a long and wide kernel stays where many outputs would touch the padding: onnxruntime
1.31 computes those one by one, which makes crepe_tiny (kernels of 64) twice as slow. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset_of, static_shape
from graphopt.ir.schema import attribute, integers
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import rank_of

AS_INPUT = 11
"""Opset from which the amounts of a Pad are an input."""
_INSIDE = 0.75
_LONG = 16
"""Length of a kernel from which on padding reaches far into the output."""
_WIDE = 16
"""Input channels from which on onnxruntime works on blocks of them."""
_WORK = 8e6
"""Multiplications of one sample from which on the time counts."""


def _padded(p):
    return p.op("Pad", p.x, p.rest("how"), as_="pad", mode="constant")


def amounts(node: ir.Node) -> tuple[list[int], list[int]] | None:
    """What a Pad adds before and after each axis of its input; None where that is not known."""
    rank = rank_of(node.inputs[0])
    pads = integers(node, "pads" if "pads" in node.attributes else "paddings", 1)
    if rank is None or pads is None or len(pads) % 2:
        return None
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        given = constant(node.inputs[3])
        if given is None:
            return None
        axes = [int(axis) % rank for axis in given.numpy().reshape(-1)]
    half = len(pads) // 2
    if half != len(axes):
        return None
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[half + place]
    return before, after


def fills_with_zero(node: ir.Node) -> bool:
    """Whether a Pad adds zeros."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        tensor = constant(node.inputs[2])
        return tensor is not None and not np.any(tensor.numpy().astype(np.float64))
    return not attribute(node, "value")


def _spatial(m) -> list[int] | None:
    """The padding that the Pad adds to the layer's own, begins then ends; None where it cannot."""
    found = amounts(m.pad)
    if found is None or not fills_with_zero(m.pad) or attribute(m.layer, "auto_pad") not in ("NOTSET", "VALID"):
        return None
    before, after = found
    if min(before + after) < 0 or any(before[:2] + after[:2]):
        return None
    more = before[2:] + after[2:]
    own = list(attribute(m.layer, "pads") or [0] * len(more))
    return [a + b for a, b in zip(own, more, strict=True)]


@rule("pad-conv", fidelity="rounding")
def pad_conv(p):
    return p.op("Conv", _padded(p), p.w, p.optional(p.b), as_="layer")


@pad_conv.require("the Pad adds zeros, known in number, around spatial axes")
def _(m):
    return _spatial(m) is not None


@pad_conv.require("it is not a long kernel that most of the time would touch the padding")
def _(m):
    return not _slow(m, _spatial(m))


def _slow(m, pads: list[int]) -> bool:
    weight, size = static_shape(m.w), static_shape(m.x)
    if weight is None or size is None or weight[1] < _WIDE or max(weight[2:]) < _LONG:
        return False
    kernel, spatial = weight[2:], size[2:]
    strides = attribute(m.layer, "strides") or [1] * len(kernel)
    dilations = attribute(m.layer, "dilations") or [1] * len(kernel)
    outputs, inside = 1, 1
    for axis, length in enumerate(spatial):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = pads[axis], pads[len(kernel) + axis]
        count = (length + begin + end - reach) // strides[axis] + 1
        first = math.ceil(begin / strides[axis])
        last = (begin + length - reach) // strides[axis]
        outputs, inside = outputs * count, inside * max(last - first + 1, 0)
    return inside < _INSIDE * outputs and outputs * math.prod(weight) > _WORK


@pad_conv.replace
def _(op, m):
    return op.Conv(m.x, m.w, m.b, like=m.layer, pads=_spatial(m), auto_pad=None)


@rule("pad-average-pool", fidelity="rounding")
def pad_average_pool(p):
    return p.op("AveragePool", _padded(p), as_="layer", ceil_mode=p.attribute(where=lambda v: not v))


@pad_average_pool.require("the Pad adds zeros around spatial axes, fewer than the window is wide, and they count")
def _(m):
    pads = _spatial(m)
    if pads is None or opset_of(m.root.graph) < 7:
        return False
    counted = attribute(m.layer, "count_include_pad") or not any(attribute(m.layer, "pads") or ())
    return bool(counted) and all(
        pad < width for pad, width in zip(pads, [*attribute(m.layer, "kernel_shape")] * 2, strict=True)
    )


@pad_average_pool.replace
def _(op, m):
    return op.AveragePool(m.x, like=m.layer, pads=_spatial(m), auto_pad=None, count_include_pad=1)


def _pad(g, x, spatial, most):
    if g.opset >= 18 and g.flag():
        pads = [g.integer(0, most) for _ in range(2 * spatial)]
        return g.Pad(
            x, g.constant(np.array(pads)), None, g.constant(np.arange(2, 2 + spatial) - g.pick([0, spatial + 2]))
        )
    pads = [0, 0, *(g.integer(0, most) for _ in range(spatial)), 0, 0, *(g.integer(0, most) for _ in range(spatial))]
    return g.Pad(x, g.constant(np.array(pads)), *([g.constant(0.0)] if g.flag() else []))


@pad_conv.example
def _(g):
    spatial = g.integer(1, 2)
    x = g.input([g.integer(1, 2), 2, *(g.integer(3, 5) for _ in range(spatial))])
    options = {"pads": [g.integer(0, 1) for _ in range(2 * spatial)]} if g.flag() else {}
    weight = g.constant(g.normal(3, 2, *(g.integer(1, 3) for _ in range(spatial))))
    g.output(g.Conv(_pad(g, x, spatial, 2), weight, strides=[g.integer(1, 2)] * spatial, **options))


@pad_average_pool.example
def _(g):
    spatial = g.integer(1, 2)
    x = g.input([1, 2, *(g.integer(3, 5) for _ in range(spatial))])
    g.output(g.AveragePool(_pad(g, x, spatial, 1), kernel_shape=[g.integer(2, 3)] * spatial))


class FusePad(RewritePass):
    """Fold Pad with zeros into Conv and AveragePool."""

    name = "fuse-pad"
    rules = (pad_conv, pad_average_pool)
