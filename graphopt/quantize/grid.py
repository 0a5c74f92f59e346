"""Affine quantization: real = (code − zero) · scale, for a whole tensor or for each index of an axis.

Source: Jacob et al. 2018, arXiv:1712.05877, equation 1; ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.quantize.scheme import Codes

LEAST_SPAN = 1e-6
"""The narrowest range; narrower ones, as that of a tensor of zeros, are widened to it."""
_TINY = np.float32(1.1754944e-38)  # below it float32 loses digits, and some kernels flush it to zero


@dataclass(frozen=True)
class Grid:
    """What codes stand for.

    Attributes:
        codes: their type.
        scale: float32, of shape () or (channels,).
        zero: codes of 0.0 as int32, of the same shape.
        axis: along which the channels lie, None where there is one scale for all.
    """

    codes: Codes
    scale: np.ndarray
    zero: np.ndarray
    axis: int | None = None

    def encode(self, array: np.ndarray) -> np.ndarray:
        """Codes of numbers as int32, saturated, halves rounded to even."""
        low, high = self.codes.limits
        steps = np.rint(array.astype(np.float64) / self._spread(self.scale, array.ndim))
        codes: np.ndarray = np.clip(steps + self._spread(self.zero, array.ndim), low, high).astype(np.int32)
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The numbers that codes stand for, as float32."""
        zero, scale = (self._spread(one, codes.ndim) for one in (self.zero, self.scale))
        made: np.ndarray = ((codes.astype(np.int32) - zero) * scale).astype(np.float32)
        return made

    def _spread(self, array: np.ndarray, rank: int) -> np.ndarray:
        if self.axis is None:
            return array
        return array.reshape([-1 if place == self.axis else 1 for place in range(rank)])

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest number that a grid of one scale reaches."""
        low, high = self.codes.limits
        return float((low - self.zero) * self.scale), float((high - self.zero) * self.scale)

    def same(self, other: Grid) -> bool:
        """Whether codes of one are codes of the other."""
        return (
            self.codes.dtype == other.codes.dtype
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero, other.zero)
        )


def store(codes: np.ndarray, kind: Codes) -> np.ndarray:
    """Codes as an array of their own type."""
    return codes.astype(ir.DataType[kind.dtype.upper()].numpy())


def from_range(low: float, high: float, kind: Codes) -> Grid:
    """The grid of one scale that covers a range and has a code for 0.0.

    The range is first widened to hold 0 and to be no narrower than `LEAST_SPAN`.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = kind.limits
    if kind.symmetric:
        # The codes above the middle are one fewer: both sides must fit in as many.
        middle = (least + most + 1) // 2
        scale = max(-low, high, LEAST_SPAN) / (most - middle)
        return Grid(kind, np.float32(max(scale, float(_TINY))), np.int32(middle))  # type: ignore[arg-type]
    step = np.float32(max(high - low, LEAST_SPAN) / (most - least))
    zero = np.int32(np.clip(np.rint(least - low / float(step)), least, most))
    return Grid(kind, step, zero)  # type: ignore[arg-type]


def fixed(low: float, high: float, kind: Codes) -> Grid:
    """The grid that integer kernels prescribe for a function of known range: 2ⁿ steps over it.

    Softmax, [0, 1): 1/256 and the lowest code; Tanh, [−1, 1): 1/128 and 0; of int16, 1/32768 and 0.
    Source: TensorFlow Lite 8-bit quantization specification.
    """
    least, most = kind.limits
    if kind.symmetric:
        middle = (least + most + 1) // 2
        return Grid(kind, np.float32(max(-low, high) / 2 ** (kind.bits - 1)), np.int32(middle))  # type: ignore[arg-type]
    scale = (high - low) / 2**kind.bits
    zero = np.clip(np.rint(least - low / scale), least, most)
    return Grid(kind, np.float32(scale), np.int32(zero))  # type: ignore[arg-type]


def of_weights(array: np.ndarray, kind: Codes, axis: int | None, least_scale: np.ndarray | float = 0.0) -> Grid:
    """The symmetric grid of weights: s = max |w| / the largest code, for each channel of `axis`.

    Args:
        array: finite weights.
        kind: symmetric codes.
        axis: of the output channels, None for one scale.
        least_scale: for each channel, what the scale must not be below (see `bias.least_scales`).
    """
    others = None if axis is None else tuple(place for place in range(array.ndim) if place != axis)
    peak = np.abs(array).max(axis=others, initial=0.0).astype(np.float64)
    scale = np.maximum(peak / kind.limits[1], least_scale)
    # A channel of zeros has codes of zero under any scale; 1 keeps the products of scales in range.
    scale = np.where(scale > _TINY, scale, 1.0 if axis is not None else LEAST_SPAN)
    return Grid(kind, scale.astype(np.float32), np.zeros(scale.shape, np.int32), axis)
