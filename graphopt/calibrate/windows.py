"""What a layer multiplies its weight with, as columns of a matrix, at positions of the output drawn at random."""

from __future__ import annotations

import numpy as np

from graphopt.calibrate.layers import Floats, Layer
from graphopt.ir.schema import attribute

Ints = np.ndarray


def columns(layer: Layer, x: np.ndarray, most: int, rng: np.random.Generator) -> Floats:
    """Columns x such that the output there is W · x, in the order of `Layer.matrix`.

    Args:
        layer: the layer.
        x: an array of its input.
        most: how many columns at most; all positions are taken where there are no more.
        rng: draws the positions.

    Returns:
        (groups, columns, positions).
    """
    if layer.node.op_type in ("Gemm", "MatMul"):
        rows = x.reshape(-1, x.shape[-1])
        chosen = rows[_drawn(len(rows), most, rng)]
        return np.ascontiguousarray(chosen.T, np.float32)[None]
    return _windows(layer, x, most, rng)


def _drawn(count: int, most: int, rng: np.random.Generator) -> Ints:
    return np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))


def _windows(layer: Layer, x: np.ndarray, most: int, rng: np.random.Generator) -> Floats:
    transposed = layer.node.op_type == "ConvTranspose"
    space, kernel = x.shape[2:], layer.shape[2:]
    rank = len(kernel)
    strides, dilations = (_each(layer, name, rank) for name in ("strides", "dilations"))
    begins, sizes = _geometry(layer, space, kernel, strides, dilations)
    total = x.shape[0] * int(np.prod(sizes))
    drawn = np.unravel_index(_drawn(total, most, rng), (x.shape[0], *sizes))
    taps = np.unravel_index(np.arange(int(np.prod(kernel))), kernel)
    valid = np.ones((len(drawn[0]), len(taps[0])), bool)
    places = []
    for axis in range(rank):
        position, tap = drawn[axis + 1][:, None], taps[axis][None, :]
        if transposed:  # the input at (p + begin - tap·dilation) / stride reaches the output at p, where that is whole
            reach = position + begins[axis] - tap * dilations[axis]
            valid &= reach % strides[axis] == 0
            place = reach // strides[axis]
        else:
            place = position * strides[axis] + tap * dilations[axis] - begins[axis]
        valid &= (place >= 0) & (place < space[axis])
        places.append(np.clip(place, 0, space[axis] - 1))
    # (positions, taps, channels), as advanced indices lie apart around the slice
    gathered = x[(drawn[0][:, None], slice(None), *places)].astype(np.float32, copy=False)
    gathered = gathered * valid[:, :, None]
    grouped = gathered.reshape(*valid.shape, layer.groups, -1)
    # → (groups, channels of a group, taps, positions)
    ordered = grouped.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(ordered.reshape(layer.groups, -1, len(valid)))


def _each(layer: Layer, name: str, rank: int) -> list[int]:
    given = attribute(layer.node, name)
    return [int(v) for v in given] if given else [1] * rank


def _geometry(
    layer: Layer, space: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> tuple[list[int], list[int]]:
    """Padding at the begin of each axis, and the sizes of the output (ONNX operators Conv and ConvTranspose)."""
    rank = len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [int(v) for v in attribute(layer.node, "pads") or [0] * 2 * rank]
    auto = attribute(layer.node, "auto_pad") or "NOTSET"
    auto = auto.decode() if isinstance(auto, bytes) else auto
    begins, sizes = [], []
    for axis in range(rank):
        size, stride, span = space[axis], strides[axis], spans[axis]
        begin, both = (0, 0) if auto != "NOTSET" else (pads[axis], pads[axis] + pads[axis + rank])
        if layer.node.op_type == "Conv":
            if auto.startswith("SAME"):
                both = max((-(-size // stride) - 1) * stride + span - size, 0)
                begin = both // 2 if auto == "SAME_UPPER" else both - both // 2
            out = (size + both - span) // stride + 1
        else:
            extra = _each(layer, "output_padding", rank)[axis] if attribute(layer.node, "output_padding") else 0
            full = stride * (size - 1) + extra + span
            asked = attribute(layer.node, "output_shape")
            out = full - both
            if asked or auto.startswith("SAME"):
                out = int(asked[axis - rank]) if asked else size * stride
                both = full - out
                begin = both // 2 if auto == "SAME_UPPER" else both - both // 2
        begins.append(begin)
        sizes.append(out)
    return begins, sizes
