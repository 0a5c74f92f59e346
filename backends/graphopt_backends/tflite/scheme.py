"""Affine quantization as tensors carry it: real = (code - zero) · scale, for all elements or for each index of an axis.

TFLite's integer kernels take int8 and int16 (and int4 for constants); ONNX also stores codes without a sign. Those are
the same numbers under a zero point that is 2ⁿ⁻¹ lower, so uint8 activations run on the int8 kernels unchanged.
Source: TensorFlow Lite 8-bit quantization specification; ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

SIGNED: Final = {"uint4": "int4", "uint8": "int8", "uint16": "int16"}
"""The signed type that holds the codes of an unsigned one, shifted by half of their range."""
BITS: Final = {"int4": 4, "int8": 8, "int16": 16, "uint4": 4, "uint8": 8, "uint16": 16}


@dataclass(frozen=True)
class Quantization:
    """How codes of type `dtype` stand for real numbers.

    Attributes:
        dtype: element type of the codes, as numpy's name.
        scale: one positive number, or one an index of `axis`.
        zero: the codes of 0.0, as many.
        axis: of the value (or of the stored tensor, as the holder says); None where there is one scale for all.
    """

    dtype: str
    scale: tuple[float, ...]
    zero: tuple[int, ...]
    axis: int | None = None

    @property
    def symmetric(self) -> bool:
        """Whether code 0 is 0.0 everywhere."""
        return not any(self.zero)

    def limits(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        half = 1 << (BITS[self.dtype] - 1)
        return (0, 2 * half - 1) if self.dtype.startswith("u") else (-half, half - 1)

    def along(self, order: Sequence[int]) -> Quantization:
        """The same with `axis` counted in a tensor that stores the axes in this order."""
        return self if self.axis is None else replace(self, axis=list(order).index(self.axis))

    def reshaped(self, before: Sequence[int], after: Sequence[int]) -> Quantization | None:
        """The same for codes of shape `before` that are given shape `after`; None where the axis does not survive."""
        if self.axis is None:
            return self
        ahead = math.prod(before[: self.axis])
        for axis, dim in enumerate(after):
            if dim == before[self.axis] and math.prod(after[:axis]) == ahead:
                return replace(self, axis=axis)
        return None

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The real numbers (float32) that `codes` stand for."""
        scale, zero = self._spread(codes.ndim)
        return np.asarray((codes.astype(np.int32) - zero).astype(np.float32) * scale)

    def encode(self, numbers: np.ndarray) -> np.ndarray:
        """The codes of real numbers: rounded half to even as ONNX's QuantizeLinear does, and clipped to the limits."""
        scale, zero = self._spread(numbers.ndim)
        with np.errstate(over="ignore"):
            codes = np.clip(np.rint(numbers.astype(np.float32) / scale) + zero, *self.limits())
        return np.asarray(codes.astype(self.dtype))

    def _spread(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        shape = [1] * rank
        if self.axis is not None:
            shape[self.axis] = -1
        else:
            shape = []
        return np.asarray(self.scale, np.float32).reshape(shape), np.asarray(self.zero, np.int32).reshape(shape)

    def signed(self) -> tuple[Quantization, int]:
        """The same numbers in signed codes, and what is to be added to a code to get there."""
        if self.dtype not in SIGNED:
            return self, 0
        shift = -(1 << (BITS[SIGNED[self.dtype]] - 1))
        return replace(self, dtype=SIGNED[self.dtype], zero=tuple(zero + shift for zero in self.zero)), shift


def one_scale(dtype: str, scale: float, zero: int = 0) -> Quantization:
    """One scale and one zero point for all elements."""
    return Quantization(dtype, (scale,), (zero,))
