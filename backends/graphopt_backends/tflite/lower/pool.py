"""Poolings: MAX_POOL_2D and AVERAGE_POOL_2D on explicit padding, and global ones as reductions."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import integer, integers, is_used, required
from graphopt_backends.tflite.registry import Decline, lowering
from graphopt_backends.tflite.window import SAME, VALID, Window, pad_spatial, window_of

_LOWEST = float(np.finfo(np.float32).min)


@lowering("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: ir.Node, e: Emitter) -> None:
    """MEAN or REDUCE_MAX over the spatial axes."""
    require_float(node, e)
    x = required(node, 0)
    where = e.layout(x)
    axes = [where.index(axis) for axis in range(2, len(where))]
    builtin = "MEAN" if node.op_type == "GlobalAveragePool" else "REDUCE_MAX"
    made = layout.stored(e.shape(node.outputs[0]), where)
    y = e.op(builtin, [e.read(x, where), e.indices(axes)], made, "ReducerOptions", keepDims=True)
    e.write(node.outputs[0], y, where)


def _prepare(node: ir.Node, e: Emitter) -> tuple[ir.Value, Window]:
    require_float(node, e)
    x = required(node, 0)
    shape = e.shape(x)
    kernel = integers(node, "kernel_shape")
    if kernel is None or len(kernel) != len(shape) - 2:
        raise Decline("kernel_shape does not fit the input")
    window = window_of(node, kernel, shape[2:])
    if any(gap != 1 for gap in window.dilation):
        raise Decline(f"dilations {list(window.dilation)}; LiteRT's poolings have none")
    if len(kernel) > 3:
        raise Decline(f"{len(kernel)} spatial axes")
    return x, window


@lowering("MaxPool")
def max_pool(node: ir.Node, e: Emitter) -> None:
    """MAX_POOL_2D; padding that TFLite's SAME is not is written with the lowest float."""
    x, window = _prepare(node, e)
    if is_used(node, 1):
        raise Decline("the second output, Indices, is used; LiteRT's MAX_POOL_2D has none")
    channels_last = layout.channels_last(e.rank(x))
    data = e.read(x, channels_last)
    if not window.is_same(e.shape_of(data)[1:-1]) or len(window.kernel) != 2:
        data, padding = pad_spatial(e, data, window, _LOWEST)
    else:
        padding = SAME if not window.is_valid(e.shape_of(data)[1:-1]) else VALID
    e.write(node.outputs[0], _pool(e, "MAX_POOL_2D", data, window, padding), channels_last)


@lowering("AveragePool")
def average_pool(node: ir.Node, e: Emitter) -> None:
    """AVERAGE_POOL_2D, whose SAME padding does not count; other paddings are zeros, counted out afterwards."""
    x, window = _prepare(node, e)
    channels_last = layout.channels_last(e.rank(x))
    data, lengths = e.read(x, channels_last), e.shape(x)[2:]
    include = bool(integer(node, "count_include_pad", 0))
    if len(window.kernel) == 2 and not include and window.is_same(lengths):
        padding = VALID if window.is_valid(lengths) else SAME
        return e.write(node.outputs[0], _pool(e, "AVERAGE_POOL_2D", data, window, padding), channels_last)
    counts = [window.covered(axis, n, include) for axis, n in enumerate(lengths)]
    data, padding = pad_spatial(e, data, window, 0.0)
    y = _pool(e, "AVERAGE_POOL_2D", data, window, padding)
    area = functools.reduce(np.multiply.outer, counts).astype(np.float64)
    if (area == 0).any():
        raise Decline("a window lies in the padding only")
    ratio = (np.prod(window.kernel) / area).astype(np.float32)
    if (ratio != 1).any():
        y = e.binary("MUL", y, e.array(ratio[..., None]))
    return e.write(node.outputs[0], y, channels_last)


def _pool(e: Emitter, builtin: str, x: int, window: Window, padding: int) -> int:
    """Pool a tensor [N, spatial…, C]: two axes at once, one with a height of 1, three as two and then one."""
    batch, *lengths, channels = e.shape_of(x)
    if len(lengths) == 1:
        y = _pool2d(
            e, builtin, e.reshape(x, (batch, 1, lengths[0], channels)), (1, *window.kernel), (1, *window.stride)
        )
        return e.reshape(y, (batch, e.shape_of(y)[2], channels))
    if len(lengths) == 2:
        return _pool2d(e, builtin, x, window.kernel, window.stride, padding)
    depth = lengths[0]
    flat = e.reshape(x, (batch * depth, *lengths[1:], channels))
    planes = _pool2d(e, builtin, flat, window.kernel[1:], window.stride[1:])
    _, height, width, _ = e.shape_of(planes)
    columns = e.reshape(planes, (batch, depth, height * width, channels))
    y = _pool2d(e, builtin, columns, (window.kernel[0], 1), (window.stride[0], 1))
    return e.reshape(y, (batch, e.shape_of(y)[1], height, width, channels))


def _pool2d(
    e: Emitter, builtin: str, x: int, kernel: Sequence[int], stride: Sequence[int], padding: int = VALID
) -> int:
    batch, *lengths, channels = e.shape_of(x)
    sizes = [
        -(-n // step) if padding == SAME else (n - size) // step + 1
        for n, size, step in zip(lengths, kernel, stride, strict=True)
    ]
    return e.op(
        builtin, [x], (batch, *sizes, channels), "Pool2DOptions",
        padding=padding, strideH=stride[0], strideW=stride[1], filterHeight=kernel[0], filterWidth=kernel[1],
    )  # fmt: skip
