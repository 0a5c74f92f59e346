"""Where a Resize samples, axis by axis, and with which weights (ONNX operator Resize, versions 10 to 19)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset, static_shape
from graphopt.ir.schema import attribute

_MODES_SINCE: Final = 11
"""Opset from which a Resize says where it samples."""


@dataclass(frozen=True)
class Resampled:
    """One axis of a Resize.

    Attributes:
        axis: which one.
        size: elements of the input.
        count: elements of the output.
        scale: what the operator takes for their ratio.
        places: real-valued places in the input, one for each element of the output.
        outside: which of them get the extrapolation value instead.
    """

    axis: int
    size: int
    count: int
    scale: float
    places: np.ndarray
    outside: np.ndarray

    @property
    def idle(self) -> bool:
        """Whether the axis stays as it is."""
        return self.size == self.count and np.array_equal(self.places, np.arange(self.size))


def resampled(node: ir.Node) -> list[Resampled] | None:
    """The axes of a Resize or an Upsample.

    Returns:
        None where a size, a scale or a region of interest is not known.
    """
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    rank = len(shape)
    axes = [axis % rank for axis in attribute(node, "axes") or range(rank)]
    found = _scales(node, [shape[axis] for axis in axes])
    if found is None or len(found[0]) != len(axes) or min(found[1], default=1) < 1 or 0 in shape:
        return None
    scales, counts = found
    how = coordinates(node)
    regions = np.tile([[0.0], [1.0]], len(axes))
    if how == "tf_crop_and_resize":
        given = _floats(node, 1)
        if given is None or given.size != 2 * len(axes):
            return None
        regions = given.reshape(2, len(axes))
    result = []
    for place, (axis, scale, count) in enumerate(zip(axes, scales, counts, strict=True)):
        size = shape[axis]
        places = _places(how, size, count, scale, regions[:, place])
        crops = how == "tf_crop_and_resize"
        outside = (places < 0) | (places > size - 1) if crops else np.zeros(count, bool)
        result.append(Resampled(axis, size, count, scale, places, outside))
    return result


def coordinates(node: ir.Node) -> str:
    """The coordinate transformation mode; before opset 11 there is one."""
    if node.op_type == "Upsample" or opset(node) < _MODES_SINCE:
        return "asymmetric"
    return str(attribute(node, "coordinate_transformation_mode"))


def _floats(node: ir.Node, index: int) -> np.ndarray | None:
    tensor = constant(node.inputs[index]) if index < len(node.inputs) else None
    return None if tensor is None or tensor.size == 0 else tensor.numpy().reshape(-1).astype(np.float32)


def _scales(node: ir.Node, sizes: list[int]) -> tuple[list[float], list[int]] | None:
    """Scales and output sizes of the resized axes."""
    if "scales" in node.attributes:
        given: np.ndarray | None = np.array(attribute(node, "scales"), np.float32)
    else:
        given = _floats(node, 1 if node.op_type == "Upsample" or opset(node) < _MODES_SINCE else 2)
    if given is not None:
        # as onnxruntime does it: the product is one of float32
        return [float(s) for s in given], [math.floor(np.float32(n) * s) for n, s in zip(sizes, given, strict=False)]
    wanted = _floats(node, 3)
    if wanted is None or 0 in sizes:
        return None
    counts = [int(count) for count in wanted]
    scales = [count / size for count, size in zip(counts, sizes, strict=False)]
    policy = attribute(node, "keep_aspect_ratio_policy") or "stretch"
    if policy != "stretch":
        scale = min(scales) if policy == "not_larger" else max(scales)
        scales, counts = [scale] * len(sizes), [math.floor(scale * size + 0.5) for size in sizes]
    return [float(np.float32(scale)) for scale in scales], counts


def _places(how: str, size: int, count: int, scale: float, region: np.ndarray) -> np.ndarray:
    """Places in the input, in float32 as onnxruntime computes them: nearest_mode depends on the last bit."""
    x, factor = np.arange(count, dtype=np.float32), np.float32(scale)
    half = np.float32(0.5)
    if how == "tf_crop_and_resize":
        start, end = region.astype(np.float32)
        if count > 1:
            return np.asarray(start * (size - 1) + x * (end - start) * (size - 1) / np.float32(count - 1))
        return np.array([half * (start + end) * (size - 1)], np.float32)
    if scale == 1:
        return x
    if how == "align_corners":
        return x * np.float32(size - 1) / np.float32(count - 1) if count > 1 else np.zeros(count, np.float32)
    if how == "asymmetric":
        return x / factor
    if how == "pytorch_half_pixel" and count == 1:
        return np.zeros(1, np.float32)
    centered = (x + half) / factor
    if how == "half_pixel_symmetric":
        adjustment = np.float32(count) / (factor * np.float32(size))
        centered = np.float32(size) / 2 * (1 - adjustment) + centered
    return np.asarray(centered - half, np.float32)


def element(one: Resampled, node: ir.Node) -> np.ndarray:
    """The element of the input that each element of the output is, under the node's nearest_mode."""
    if node.op_type == "Upsample" or opset(node) < _MODES_SINCE:
        rounded = np.ceil(one.places) if one.scale < 1 else np.floor(one.places)
    else:
        rounded = _ROUNDINGS[str(attribute(node, "nearest_mode"))](one.places)
    return np.asarray(np.clip(rounded, 0, one.size - 1), np.int64)


_ROUNDINGS: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    # in float64, where a half more than a float32 is exact
    "round_prefer_floor": lambda x: np.ceil(x.astype(np.float64) - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x.astype(np.float64) + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def weights(one: Resampled, node: ir.Node) -> np.ndarray:
    """The matrix [count, size] that a linear or cubic Resize multiplies an axis by; rows outside are zero.

    The kernels are the triangle and Keys' cubic convolution with the node's cubic_coeff_a (Keys, IEEE Trans. ASSP 29,
    1981, equation 4). With antialias they are as much wider as the image gets smaller, with weights that add up to 1.
    The first and the last element stand for what lies beyond, unless exclude_outside takes that away.
    """
    antialias = bool(attribute(node, "antialias")) and one.scale < 1
    cubic = attribute(node, "mode") == "cubic"
    width = min(one.scale, 1.0) if antialias else 1.0
    reach = math.ceil((2 if cubic else 1) / width) + 1
    places = one.places.astype(np.float64)
    if not cubic and not antialias:
        places = np.clip(places, 0, one.size - 1)
    taps = np.floor(places)[:, None] + np.arange(-reach, reach + 1)
    distance = (taps - places[:, None]) * width
    found = _cubic(distance, float(attribute(node, "cubic_coeff_a"))) if cubic else np.maximum(0, 1 - np.abs(distance))
    if attribute(node, "exclude_outside"):
        found = found * ((taps >= 0) & (taps < one.size))
    found = found / found.sum(axis=1, keepdims=True)
    matrix = np.zeros((one.count, one.size))
    rows = np.broadcast_to(np.arange(one.count)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, one.size - 1).astype(np.int64)), found)
    matrix[one.outside] = 0
    return matrix


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
