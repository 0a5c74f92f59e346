"""Convolutions: CONV_2D, DEPTHWISE_CONV_2D, CONV_3D and TRANSPOSE_CONV, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.activation import NONE, take_activation
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.lower.unary import require_float
from graphopt_backends.tflite.onnx_node import integer, operand, required
from graphopt_backends.tflite.registry import Decline, lowering
from graphopt_backends.tflite.window import VALID, Window, pad, pad_spatial, window_of


@lowering("Conv")
def conv(node: ir.Node, e: Emitter) -> None:
    """A convolution of one, two or three spatial axes; one axis runs as two with a height of 1."""
    require_float(node, e)
    x, w = required(node, 0), required(node, 1)
    shape, weights = e.shape(x), e.shape(w)
    spatial, groups = len(shape) - 2, integer(node, "group", 1)
    window = window_of(node, weights[2:], shape[2:])
    if spatial not in (1, 2, 3):
        raise Decline(f"{spatial} spatial axes; LiteRT convolves one, two or three")
    if spatial == 3 and groups > 1:
        raise Decline("groups in three spatial axes; LiteRT's CONV_3D has none")
    data, padding = pad_spatial(e, e.read(x, layout.channels_last(len(shape))), window)
    depthwise = 1 < groups == shape[1]
    # Stored as TFLite's kernels want them: I, kernel, O for depthwise; kernel, I, O for 3-D; else O, kernel, I.
    rank = len(weights)
    order = (
        (1, *range(2, rank), 0) if depthwise else (2, 3, 4, 1, 0) if spatial == 3 else (0, *range(2, rank), 1)
    )  # fmt: skip
    kernel = e.read(w, order) if spatial == 3 else e.weights(w, order)
    if spatial == 1:
        data, kernel, window = _two_axes(e, data), _two_axes(e, kernel), _two_axes_window(window)
    bias = e.bias(operand(node, 2), data, kernel, weights[0])
    activation, output = take_activation(node.outputs[0], e)
    letters = "DHW"[-len(window.stride) :]
    fields: dict[str, Any] = {"padding": padding}
    fields |= {f"stride{letter}": step for letter, step in zip(letters, window.stride, strict=True)}
    fields |= {f"dilation{letter}Factor": gap for letter, gap in zip(letters, window.dilation, strict=True)}
    made = (shape[0], *(window.output(a, n) for a, n in enumerate(_lengths(shape))), weights[0])
    builtin, table = ("CONV_3D", "Conv3DOptions") if spatial == 3 else ("CONV_2D", "Conv2DOptions")
    if depthwise:
        builtin, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        fields["depthMultiplier"] = weights[0] // groups
    elif groups > 1:
        fields["groups"] = groups
    y = e.op(builtin, [data, kernel, bias], made, table, fusedActivationFunction=activation, **fields)
    channels_last = layout.channels_last(len(shape))
    e.write(output, e.reshape(y, layout.stored(e.shape(output), channels_last)), channels_last)


def _lengths(shape: Sequence[int]) -> tuple[int, ...]:
    return (1, *shape[2:]) if len(shape) == 3 else tuple(shape[2:])


def _two_axes(e: Emitter, tensor: int) -> int:
    first, *rest = e.shape_of(tensor)
    return e.reshape(tensor, (first, 1, *rest))


def _two_axes_window(window: Window) -> Window:
    return Window(
        (1, *window.kernel),
        (1, *window.stride),
        (1, *window.dilation),
        (0, *window.begin),
        (0, *window.end),
        window.ceil,
    )


@lowering("ConvTranspose")
def conv_transpose(node: ir.Node, e: Emitter) -> None:
    """TRANSPOSE_CONV of the whole result, cropped by the model's padding; a group at a time."""
    require_float(node, e)
    x, w = required(node, 0), required(node, 1)
    shape, weights = e.shape(x), e.shape(w)
    if len(shape) not in (3, 4):
        raise Decline(f"{len(shape) - 2} spatial axes; LiteRT's TRANSPOSE_CONV has two")
    spatial, groups = len(shape) - 2, integer(node, "group", 1)
    window = window_of(node, weights[2:], shape[2:])
    if any(step != 1 for step in window.dilation):
        raise Decline(f"dilations {list(window.dilation)}; LiteRT's TRANSPOSE_CONV has none")
    sizes = e.shape(node.outputs[0])[2:]
    begin = _crop_before(node, window, shape[2:], sizes)
    data, kernel = e.read(x, layout.channels_last(len(shape))), e.read(w, (1, *range(2, len(weights)), 0))
    if spatial == 1:
        data, kernel, window = _two_axes(e, data), _two_axes(e, kernel), _two_axes_window(window)
        sizes, begin = (1, *sizes), (0, *begin)
    activation, output = take_activation(node.outputs[0], e)
    bias = e.bias(operand(node, 2), data, kernel, e.shape(output)[1])
    made = _sizes(e, data, window)
    if groups == 1 and all(start + size <= n for start, size, n in zip(begin, sizes, made, strict=True)):
        y = _crop(e, _transpose_conv(e, data, kernel, window, bias, activation), begin, sizes)
    else:
        parts = zip(_split(e, data, groups), _split(e, kernel, groups), strict=True)
        whole = _concatenate(e, [_transpose_conv(e, part, weight, window) for part, weight in parts])
        y = e.binary("ADD", _crop(e, whole, begin, sizes), bias, activation=activation)
    channels_last = layout.channels_last(len(shape))
    e.write(output, e.reshape(y, layout.stored(e.shape(output), channels_last)), channels_last)


def _crop_before(node: ir.Node, window: Window, lengths: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Elements to drop before: the stated padding, or under auto_pad and output_shape the share of the total."""
    auto = node.attributes.get("auto_pad")
    mode = "NOTSET" if auto is None else auto.as_string()
    if "output_shape" not in node.attributes and not mode.startswith("SAME"):
        return window.begin
    extra = node.attributes.get("output_padding")
    added = extra.as_ints() if extra is not None else [0] * len(sizes)
    crops = []
    for axis, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        total = (length - 1) * window.stride[axis] + added[axis] + window.span(axis) - size
        if total < 0:
            raise Decline("output_shape is larger than what the convolution makes")
        crops.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
    return tuple(crops)


def _sizes(e: Emitter, x: int, window: Window) -> list[int]:
    """Spatial lengths of the whole result, before any cropping."""
    lengths = e.shape_of(x)[1:-1]
    return [(n - 1) * window.stride[axis] + window.kernel[axis] for axis, n in enumerate(lengths)]


def _transpose_conv(
    e: Emitter, x: int, kernel: int, window: Window, bias: int | None = None, activation: int = NONE
) -> int:
    made = (e.shape_of(x)[0], *_sizes(e, x, window), e.shape_of(kernel)[0])
    inputs = [e.indices(made), kernel, x] + ([] if bias is None else [bias])
    return e.op(
        "TRANSPOSE_CONV", inputs, made, "TransposeConvOptions",
        padding=VALID, strideH=window.stride[0], strideW=window.stride[1], fusedActivationFunction=activation,
    )  # fmt: skip


def _split(e: Emitter, x: int, groups: int) -> list[int]:
    if groups == 1:
        return [x]
    *head, channels = e.shape_of(x)
    shapes = [(*head, channels // groups)] * groups
    return e.op_many("SPLIT", [e.indices(len(head)), x], shapes, "SplitOptions", numSplits=groups)


def _concatenate(e: Emitter, parts: Sequence[int]) -> int:
    if len(parts) == 1:
        return parts[0]
    *head, _ = e.shape_of(parts[0])
    made = (*head, sum(e.shape_of(part)[-1] for part in parts))
    return e.op("CONCATENATION", parts, made, "ConcatenationOptions", axis=len(head))


def _crop(e: Emitter, x: int, begin: Sequence[int], sizes: Sequence[int]) -> int:
    """The part of [N, spatial…, C] that starts at `begin`; what lies behind the end is zero."""
    batch, *lengths, channels = e.shape_of(x)
    after = [max(start + size - length, 0) for start, size, length in zip(begin, sizes, lengths, strict=True)]
    x = pad(e, x, [(0, 0), *((0, amount) for amount in after), (0, 0)])
    made = (batch, *sizes, channels)
    if made == e.shape_of(x):
        return x
    return e.op("SLICE", [x, e.indices([0, *begin, 0]), e.indices(made)], made, "SliceOptions")
