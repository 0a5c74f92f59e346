"""Where resizing samples its input: ONNX's coordinate modes, and LiteRT's, as arrays that can be compared.

ONNX: the operator documentation of Resize. LiteRT: `reference/resize_nearest_neighbor.h` and `resize_bilinear.h`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLAGS = ((False, False), (False, True), (True, False))
"""(align_corners, half_pixel_centers) that LiteRT's resizing takes."""


@dataclass(frozen=True)
class Grid:
    """Sampling along one axis: its length before and after, the stated scale, and ONNX's modes."""

    before: int
    after: int
    scale: float
    transform: str
    rounding: str

    @property
    def moves(self) -> bool:
        """Whether this axis is resampled at all."""
        return self.before != self.after or self.scale != 1.0


def coordinates(grid: Grid) -> np.ndarray:
    """ONNX's place in the input for each element of the output, of shape [after]."""
    x, scale = np.arange(grid.after, dtype=np.float32), np.float32(grid.scale)
    place: np.ndarray = x / scale
    match grid.transform:
        case "half_pixel" | "pytorch_half_pixel":
            place = (x + np.float32(0.5)) / scale - np.float32(0.5)
        case "half_pixel_symmetric":
            adjustment = grid.after / (grid.scale * grid.before)
            place = grid.before / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
        case "align_corners":
            place = x * (np.float32(grid.before - 1) / np.float32(max(grid.after - 1, 1)))
    return x * 0 if grid.transform == "pytorch_half_pixel" and grid.after == 1 else place


def nearest(grid: Grid) -> np.ndarray:
    """ONNX's source index for each element of the output, of shape [after]."""
    place = coordinates(grid)
    match grid.rounding:
        case "floor":
            index = np.floor(place)
        case "ceil":
            index = np.ceil(place)
        case "round_prefer_ceil":
            index = np.floor(place + 0.5)
        case _:
            index = np.ceil(place - 0.5)
    return np.asarray(np.clip(index.astype(np.int64), 0, grid.before - 1))


def _litert_scale(grid: Grid, align: bool) -> np.float32:
    if align and grid.after > 1:
        return np.float32(grid.before - 1) / np.float32(grid.after - 1)
    return np.float32(grid.before) / np.float32(grid.after)


def litert_nearest(grid: Grid, align: bool, half: bool) -> np.ndarray:
    """LiteRT's source index for each element of the output, of shape [after]."""
    x = np.arange(grid.after, dtype=np.float32) + np.float32(0.5 if half else 0.0)
    place = x * _litert_scale(grid, align)
    index = np.floor(place + np.float32(0.5)) if align else np.floor(place)
    return np.asarray(np.clip(index.astype(np.int64), 0, grid.before - 1))


def linear_agrees(grid: Grid, align: bool, half: bool) -> bool:
    """Whether LiteRT interpolates at ONNX's places; outside of the input both take the edge."""
    x = np.arange(grid.after, dtype=np.float32)
    scale = _litert_scale(grid, align)
    place = (x + np.float32(0.5)) * scale - np.float32(0.5) if half else x * scale
    last = grid.before - 1
    return bool(
        np.allclose(np.clip(place, 0, last), np.clip(coordinates(grid), 0, last), rtol=0, atol=1e-6 * max(last, 1))
    )
