"""The rows that a layer multiplies: patches of a convolution, positions of a product, at a random choice of places."""

from __future__ import annotations

import math

import numpy as np

from graphopt.channels.layers import Layer
from graphopt.channels.operators.common import flag, integers
from graphopt.verify.types import Array


def rows(layer: Layer, x: Array, y: Array, most: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Inputs and outputs of a layer at up to `most` places.

    Args:
        layer: not a ConvTranspose.
        x, y: what it reads and what it shall give.
        most: places.
        rng: chooses them.

    Returns:
        Shapes (groups, places, inputs × taps) and (groups, places, outputs of a group).
    """
    outs = np.moveaxis(y, layer.across, -1)
    places = rng.permutation(outs.size // max(outs.shape[-1], 1))[:most]
    wanted = outs.reshape(-1, outs.shape[-1])[places]
    if layer.node.op_type == "Conv":
        taken = _patches(layer, x, y.shape[2:], np.unravel_index(places, outs.shape[:-1]))
    else:
        moved = np.moveaxis(x, layer.along, -1)
        taken = moved.reshape(-1, 1, moved.shape[-1])[places]
    groups, count = layer.groups, len(places)
    return (
        taken.reshape(count, groups, -1).transpose(1, 0, 2),
        wanted.reshape(count, groups, -1).transpose(1, 0, 2),
    )


def _patches(layer: Layer, x: Array, sizes: tuple[int, ...], places: tuple[Array, ...]) -> Array:
    """The patches under the given (sample, place) indices, shape (places, channels, taps)."""
    kernel = list(layer.shape[2:])
    rank = len(kernel)
    strides = integers(layer.node, "strides") or [1] * rank
    dilations = integers(layer.node, "dilations") or [1] * rank
    before, behind = _pads(layer, x.shape[2:], sizes, kernel, strides, dilations)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(before, behind, strict=True)])
    taps = np.indices(kernel).reshape(rank, -1)
    at = [places[1 + axis][:, None] * strides[axis] + taps[axis][None] * dilations[axis] for axis in range(rank)]
    # Index arrays side by side: the places and taps come first, the channels last.
    patches: Array = np.moveaxis(padded, 1, -1)[(places[0][:, None], *at)]
    return patches.transpose(0, 2, 1)


def _pads(
    layer: Layer, shape: tuple[int, ...], sizes: tuple[int, ...], kernel: list[int], strides: list[int],
    dilations: list[int],
) -> tuple[list[int], list[int]]:  # fmt: skip
    rank = len(kernel)
    mode = layer.node.attributes["auto_pad"].as_string() if "auto_pad" in layer.node.attributes else "NOTSET"
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((out - 1) * stride + (k - 1) * d + 1 - size, 0)
            for out, stride, k, d, size in zip(sizes, strides, kernel, dilations, shape, strict=True)
        ]
        small = [one // 2 for one in total]
        large = [one - half for one, half in zip(total, small, strict=True)]
        return (small, large) if mode == "SAME_UPPER" else (large, small)
    pads = integers(layer.node, "pads") if mode == "NOTSET" else None
    pads = pads or [0] * (2 * rank)
    return pads[:rank], pads[rank:]


def has_unit_scale(layer: Layer) -> bool:
    """Whether a layer is just W x + b."""
    attributes = layer.node.attributes
    factors = [attributes[name].as_float() for name in ("alpha", "beta") if name in attributes]
    return all(math.isclose(one, 1.0) for one in factors) and not (
        layer.node.op_type == "Gemm" and flag(layer.node, "transA")
    )
