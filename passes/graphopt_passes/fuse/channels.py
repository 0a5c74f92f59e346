"""Arithmetic on the channels of a layer, shared by the passes that fold into its weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import readers, shape_of
from graphopt.ir.schema import attribute
from graphopt_passes.scalars import FLOATS, rank_of

LAYERS = ("Conv", "ConvTranspose", "Gemm")
"""Layers whose weight is input 1 and whose bias is input 2."""
WEIGHTED = (*LAYERS, "MatMul")
"""These and MatMul, which has no bias."""
_SMALL = 1 << 16
"""Bytes of a weight that may be there twice, before and after."""


def layer(p, types=LAYERS, x=None):
    """The pattern of such a layer with constant weights, under the names x, w, b and layer."""
    return p.op(types, p.x if x is None else x, p.constant("w"), p.optional(p.constant("b")), as_="layer")


def foldable(m) -> bool:
    """Whether a matched layer's weight may change: it is a matrix or kernel of numbers, and large ones are its own."""
    value = m.value("w")
    tensor = value.const_value if value.const_value is not None else None
    if value.dtype not in FLOATS or (m.layer.op_type in ("Gemm", "MatMul") and rank_of(value) != 2):
        return False
    if tensor is not None and tensor.nbytes <= _SMALL:
        return True
    users = readers(value)
    next(users, None)
    return next(users, None) is None


def output_channels(node: ir.Node, weight: np.ndarray) -> int:
    """How many output channels a layer has: of Conv [M, C/g, …], ConvTranspose [C, M/g, …], Gemm [K, N] or [N, K]."""
    if node.op_type == "Conv":
        return int(weight.shape[0])
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int(attribute(node, "group"))
    return int(weight.shape[0 if attribute(node, "transB") else 1])


def input_channels(node: ir.Node, weight: np.ndarray) -> int:
    """How many input channels a layer has."""
    if node.op_type == "Conv":
        return int(weight.shape[1]) * int(attribute(node, "group"))
    if node.op_type == "ConvTranspose":
        return int(weight.shape[0])
    return int(weight.shape[1 if attribute(node, "transB") else 0])


def scale_weight(node: ir.Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weight with output channel m multiplied by factor[m], in float64."""
    wide = weight.astype(np.float64)
    if node.op_type == "Conv":
        return wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op_type == "ConvTranspose":
        groups = int(attribute(node, "group"))
        grouped = wide.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        spread = factor.reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        return (grouped * spread).reshape(weight.shape)
    return wide * (factor.reshape(-1, 1) if attribute(node, "transB") else factor)


def scale_input(node: ir.Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weight with what meets input channel c multiplied by factor[c], in float64."""
    wide = weight.astype(np.float64)
    if node.op_type == "Conv":
        groups = int(attribute(node, "group"))
        spread = factor.reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        return (wide.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]) * spread).reshape(weight.shape)
    if node.op_type == "ConvTranspose":
        return wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return wide * (factor if attribute(node, "transB") else factor.reshape(-1, 1))


def shift_through(node: ir.Node, weight: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a shift of each input channel adds to each output channel of a Conv without padding, a Gemm or a MatMul."""
    weighted = scale_input(node, weight, shift)
    if node.op_type == "Conv":
        return weighted.sum(axis=tuple(range(1, weight.ndim)))
    alpha = float(attribute(node, "alpha")) if node.op_type == "Gemm" else 1.0
    return alpha * weighted.sum(axis=1 if attribute(node, "transB") else 0)


def bias_of(node: ir.Node, bias: np.ndarray | None) -> np.ndarray:
    """What a layer adds, in float64; a Gemm's beta is applied. It broadcasts over channels (last axis)."""
    if bias is None:
        return np.zeros((), np.float64)
    beta = float(attribute(node, "beta")) if node.op_type == "Gemm" else 1.0
    return bias.astype(np.float64) * beta


def at_output(m, array: np.ndarray) -> np.ndarray | None:
    """The vector by output channel that a constant stands for when it meets a matched layer's output, as below."""
    channels = output_channels(m.layer, m.w)
    if m.layer.op_type == "MatMul":
        return _last(m.layer.outputs[0], array, channels)
    return per_channel(array, m.w.ndim, channels)


def at_input(m, array: np.ndarray) -> np.ndarray | None:
    """The vector by input channel that a constant stands for when it meets x and makes a matched layer's input.

    None, too, where x is not known to have the channels of the layer: the constant may be what makes them of one.
    """
    channels = input_channels(m.layer, m.w)
    if array.size > 1 and _size(m.x, _input_axis(m.layer)) != channels:
        return None
    if m.layer.op_type == "MatMul":
        return _last(m.layer.inputs[0], array, channels)
    return per_channel(array, m.w.ndim, channels, axis=_input_axis(m.layer) % m.w.ndim)


def _input_axis(node: ir.Node) -> int:
    """The axis of a layer's input where the channels lie."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transA") else 1
    return -1 if node.op_type == "MatMul" else 1


def _size(value: ir.Value, axis: int) -> int | None:
    shape = shape_of(value)
    size = shape[axis] if shape is not None and len(shape) > axis and len(shape) else None
    return size if isinstance(size, int) else None


def _last(value: ir.Value, array: np.ndarray, channels: int) -> np.ndarray | None:
    rank = rank_of(value)
    if rank is None:
        rank = max(array.ndim, 1) if array.ndim <= 1 else 0
    return per_channel(array, rank, channels, axis=rank - 1) if rank else None


def per_channel(array: np.ndarray, rank: int, channels: int, axis: int = 1) -> np.ndarray | None:
    """The vector by channel that a constant stands for when it meets a tensor.

    Args:
        array: the constant.
        rank: of the tensor.
        channels: of the tensor.
        axis: of the channels.

    Returns:
        float64 of shape [channels], or None where the constant differs along another axis or makes the tensor larger.
    """
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for at, size in enumerate(shape) if at != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))


def as_type(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Back to the type of the weight."""
    return array.astype(like.dtype)
