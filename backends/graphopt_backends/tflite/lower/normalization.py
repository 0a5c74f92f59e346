"""Normalizations: softmax along any axis, batch statistics folded to a scale and a shift, moments from primitives."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.reduce import reduce_stored
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import axis_of, integer, integers, is_used, operand, real, required
from graphopt_backends.tflite.registry import Decline, lowering


@lowering("Softmax", "LogSoftmax")
def softmax(node: ir.Node, e: Emitter) -> None:
    """SOFTMAX or LOG_SOFTMAX on an order that stores the axis last; before opset 13 over all axes from `axis` on."""
    require_float(node, e)
    x, y = required(node, 0), node.outputs[0]
    shape = e.shape(x)
    axis = axis_of(integer(node, "axis", 1 if e.opset < 13 else -1), len(shape))
    if e.opset < 13 and any(dim != 1 for dim in shape[axis + 1 :]):
        flat = e.reshape(e.read(x), (math.prod(shape[:axis]), math.prod(shape[axis:])))
        return e.write(y, e.reshape(_softmax(e, node.op_type, flat), shape))
    where = layout.axis_last(e.layout(x), axis)
    data = e.read(x, where)
    # LiteRT's LOG_SOFTMAX takes up to four axes; a matrix says the same.
    flat = data if len(shape) <= 4 else e.reshape(data, (math.prod(shape) // shape[axis], shape[axis]))
    return e.write(y, e.reshape(_softmax(e, node.op_type, flat), e.shape_of(data)), where)


def _softmax(e: Emitter, name: str, x: int) -> int:
    if name == "Softmax":
        return e.op("SOFTMAX", [x], e.shape_of(x), "SoftmaxOptions", beta=1.0)
    return e.op("LOG_SOFTMAX", [x], e.shape_of(x), "LogSoftmaxOptions")


@lowering("BatchNormalization")
def batch_normalization(node: ir.Node, e: Emitter) -> None:
    """x·k + (B - μ·k) with k = γ/√(σ² + ε), from constant statistics."""
    require_float(node, e)
    if integer(node, "training_mode", 0) or any(is_used(node, index) for index in range(1, 5)):
        raise Decline("training mode")
    x, epsilon = required(node, 0), real(node, "epsilon", 1e-5)
    where, parameters = e.layout(x), [required(node, index) for index in range(1, 5)]
    if any(e.rank(value) != 1 for value in parameters) or len(where) < 2:
        raise Decline("statistics by element and not by channel")
    arrays = [e.constant(value) for value in parameters]
    if any(array is None for array in arrays):
        scale, shift, mean, variance = (_by_channel(e, value, where) for value in parameters)
        deviation = e.unary("SQRT", e.binary("ADD", variance, e.scalar(epsilon, variance)))
        y = e.binary("MUL", e.binary("SUB", e.read(x, where), mean), e.binary("DIV", scale, deviation))
        return e.write(node.outputs[0], e.binary("ADD", y, shift), where)
    gamma, beta, center, spread = (np.asarray(array, np.float64) for array in arrays)
    factor = gamma / np.sqrt(spread + epsilon)
    y = e.binary("MUL", e.read(x, where), _constant_by_channel(e, factor, where))
    y = e.binary("ADD", y, _constant_by_channel(e, beta - center * factor, where))
    return e.write(node.outputs[0], y, where)


def _constant_by_channel(e: Emitter, array: np.ndarray, where: layout.Layout) -> int:
    # Without leading axes of length 1: XNNPACK and the reference kernels take [C] as it is.
    return e.array(array.astype(np.float32).reshape(-1, *[1] * (len(where) - 1 - where.index(1))))


def _standardized(e: Emitter, x: int, axes: list[int], epsilon: float) -> tuple[int, int, int]:
    """(x - mean) / √(variance + ε), the mean and 1 / √(variance + ε)."""
    mean = reduce_stored(e, "MEAN", x, axes)
    centered = e.binary("SUB", x, mean)
    variance = reduce_stored(e, "MEAN", e.unary("SQUARE", centered), axes)
    inverse = e.unary("RSQRT", e.binary("ADD", variance, e.scalar(epsilon, x)))
    return e.binary("MUL", centered, inverse), mean, inverse


@lowering("MeanVarianceNormalization")
def mean_variance_normalization(node: ir.Node, e: Emitter) -> None:
    """(x - mean) / (√variance + 1e-9)."""
    require_float(node, e)
    x = required(node, 0)
    where = e.layout(x)
    data = e.read(x, where)
    axes = sorted(where.index(axis_of(axis, len(where))) for axis in integers(node, "axes") or [0, 2, 3])
    centered = e.binary("SUB", data, reduce_stored(e, "MEAN", data, axes))
    deviation = e.unary("SQRT", reduce_stored(e, "MEAN", e.unary("SQUARE", centered), axes))
    y = e.binary("DIV", centered, e.binary("ADD", deviation, e.scalar(1e-9, deviation)))
    e.write(node.outputs[0], y, where)


@lowering("InstanceNormalization")
def instance_normalization(node: ir.Node, e: Emitter) -> None:
    """Standardized over the spatial axes, then scaled and shifted by channel."""
    require_float(node, e)
    x = required(node, 0)
    where = e.layout(x)
    axes = sorted(where.index(axis) for axis in range(2, len(where)))
    y, _, _ = _standardized(e, e.read(x, where), axes, real(node, "epsilon", 1e-5))
    for builtin, index in (("MUL", 1), ("ADD", 2)):
        y = e.binary(builtin, y, _by_channel(e, required(node, index), where))
    e.write(node.outputs[0], y, where)


def _by_channel(e: Emitter, value: ir.Value, where: layout.Layout) -> int:
    shape = [1] * len(where)
    shape[1] = -1
    array = e.constant(value)
    if array is not None:
        return e.array(np.transpose(array.reshape(shape), where))
    shape[1] = e.shape(value)[0]
    return e.reshape(e.read(value), layout.stored(shape, where))


@lowering("LayerNormalization", "RMSNormalization")
def layer_normalization(node: ir.Node, e: Emitter) -> None:
    """Standardized (or divided by the root mean square) over the axes from `axis` on, then scaled and shifted."""
    require_float(node, e)
    x, scale, shift = required(node, 0), required(node, 1), operand(node, 2)
    rank = e.rank(x)
    first, where = axis_of(integer(node, "axis", -1), rank), e.layout(x)
    axes = sorted(where.index(axis) for axis in range(first, rank))
    data, epsilon = e.read(x, where), real(node, "epsilon", 1e-5)
    if node.op_type == "RMSNormalization":
        power = reduce_stored(e, "MEAN", e.unary("SQUARE", data), axes)
        y = e.binary("MUL", data, e.unary("RSQRT", e.binary("ADD", power, e.scalar(epsilon, data))))
    else:
        y, *moments = _standardized(e, data, axes, epsilon)
        for index, moment in enumerate(moments, start=1):
            if is_used(node, index):
                e.write(node.outputs[index], moment, where)
    y = e.binary("MUL", y, e.broadcastable(scale, where))
    if shift is not None:
        y = e.binary("ADD", y, e.broadcastable(shift, where))
    e.write(node.outputs[0], y, where)


@lowering("GroupNormalization")
def group_normalization(node: ir.Node, e: Emitter) -> None:
    """Standardized over the channels of a group and the spatial axes, then scaled and shifted."""
    require_float(node, e)
    x, groups = required(node, 0), integer(node, "num_groups", 1)
    batch, channels, *spatial = e.shape(x)
    data = e.reshape(e.read(x), (batch, groups, channels // groups * math.prod(spatial)))
    y = e.reshape(_standardized(e, data, [2], real(node, "epsilon", 1e-5))[0], (batch, channels, math.prod(spatial)))
    for builtin, index in (("MUL", 1), ("ADD", 2)):
        value = required(node, index)
        count = e.shape(value)[0]
        # Opset 18 scales a group, opset 21 a channel.
        part = e.reshape(e.read(value), (1, count, 1))
        y = e.reshape(y, (batch, count, channels // count * math.prod(spatial)))
        y = e.binary(builtin, y, part)
    e.write(node.outputs[0], e.reshape(y, e.shape(x)))


@lowering("LpNormalization")
def lp_normalization(node: ir.Node, e: Emitter) -> None:
    """x divided by its 1-norm or 2-norm along an axis."""
    require_float(node, e)
    x, p = required(node, 0), integer(node, "p", 2)
    where = e.layout(x)
    axis, data = where.index(axis_of(integer(node, "axis", -1), len(where))), e.read(x, where)
    if p == 1:
        norm = reduce_stored(e, "SUM", e.unary("ABS", data), [axis])
    else:
        norm = e.unary("SQRT", reduce_stored(e, "SUM", e.unary("SQUARE", data), [axis]))
    # A vector of zeros stays one.
    norm = e.binary("MAXIMUM", norm, e.scalar(float(np.finfo(np.float32).tiny), norm))
    e.write(node.outputs[0], e.binary("DIV", data, norm), where)


@lowering("LRN")
def local_response_normalization(node: ir.Node, e: Emitter) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose α ONNX divides by the window's size."""
    require_float(node, e)
    x, size = required(node, 0), integer(node, "size", 1)
    if size % 2 == 0 or e.rank(x) != 4:
        raise Decline("an even size or a rank other than 4; LiteRT's window is symmetric, over the last of four axes")
    where = layout.channels_last(4)
    y = e.op(
        "LOCAL_RESPONSE_NORMALIZATION", [e.read(x, where)], layout.stored(e.shape(x), where),
        "LocalResponseNormalizationOptions", radius=size // 2, bias=real(node, "bias", 1.0),
        alpha=real(node, "alpha", 1e-4) / size, beta=real(node, "beta", 0.75),
    )  # fmt: skip
    e.write(node.outputs[0], y, where)
