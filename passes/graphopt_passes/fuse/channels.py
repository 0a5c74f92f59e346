"""Arithmetic on the output channels of a layer, shared by the passes that fold into its weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.schema import attribute

LAYERS = ("Conv", "ConvTranspose", "Gemm")
"""Layers whose weight is input 1 and whose bias is input 2."""


def layer(p):
    """The pattern of such a layer with constant weights, under the names x, w, b and layer."""
    return p.op(LAYERS, p.x, p.constant("w"), p.optional(p.constant("b")), as_="layer")


def output_channels(node: ir.Node, weight: np.ndarray) -> int:
    """How many output channels a layer has: of Conv [M, C/g, …], ConvTranspose [C, M/g, …], Gemm [K, N] or [N, K]."""
    if node.op_type == "Conv":
        return int(weight.shape[0])
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int(attribute(node, "group"))
    return int(weight.shape[0 if attribute(node, "transB") else 1])


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


def bias_of(node: ir.Node, bias: np.ndarray | None) -> np.ndarray:
    """What a layer adds, in float64; a Gemm's beta is applied. It broadcasts over channels (last axis)."""
    if bias is None:
        return np.zeros((), np.float64)
    beta = float(attribute(node, "beta")) if node.op_type == "Gemm" else 1.0
    return bias.astype(np.float64) * beta


def per_channel(array: np.ndarray, rank: int, channels: int, axis: int = 1) -> np.ndarray | None:
    """The vector by output channel that a constant stands for when it meets a layer's output.

    Args:
        array: the constant.
        rank: of the layer's output.
        channels: of the layer's output.
        axis: of the channels.

    Returns:
        float64 of shape [channels], or None where the constant differs along another axis or makes the output larger.
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
