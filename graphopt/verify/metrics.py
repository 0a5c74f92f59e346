"""How far apart are the outputs of two models? One record an output, over all samples.

With x the expected and y the actual elements, over the positions where both are finite, in float64:

    maximum absolute error   max |x - y|
    maximum relative error   max |x - y| / max(|x|, u·max|x|), u the unit roundoff of the element type
    cosine                   Σxy / √(Σx²·Σy²), the worst sample; 1 where both are zero, 0 where one is
    SQNR in dB               10·log10(Σx² / Σ(x - y)²), over the energy of all samples, kept inside [-300, 300]

Every number is finite, so that it can be written as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from graphopt.verify.types import Array

LIMIT_DB = 300.0
LARGEST = float(np.finfo(np.float64).max)

Outputs: TypeAlias = "Mapping[str, Array] | Sequence[Mapping[str, Array]]"


@dataclass(frozen=True)
class OutputError:
    """How one output differs, in the worst of the samples.

    Attributes:
        name: the output.
        equal: bitwise equality, so that +0 is not -0; any NaN equals any other.
        match: share of the elements that are equal in value, from 0 to 1.
        max_abs_error: in the units of the output.
        max_rel_error: relative to the expected element.
        cosine: from -1 to 1.
        sqnr_db: 300 where there is no noise, -300 where nothing of the signal is left.
        nonfinite: number of elements that are NaN or infinite in one but not alike in the other.
        signed_zeros: number of elements that are zeros of different sign.
        dtype: the expected element type.
        problem: what cannot be compared (a missing output, another shape or type), or "".
    """

    name: str
    equal: bool = False
    match: float = 0.0
    max_abs_error: float = LARGEST
    max_rel_error: float = LARGEST
    cosine: float = 0.0
    sqnr_db: float = -LIMIT_DB
    nonfinite: int = 0
    signed_zeros: int = 0
    dtype: str = ""
    problem: str = ""


def compare(expected: Outputs, actual: Outputs) -> list[OutputError]:
    """Compare outputs by name.

    Args:
        expected: the outputs of one sample, or of several.
        actual: the same for the other model; what it has beyond the expected names is a problem too.

    Returns:
        One record for each name, in the order of `expected`.
    """
    left, right = _as_list(expected), _as_list(actual)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} samples cannot be compared with {len(right)}")
    names = list(dict.fromkeys(name for outputs in (*left, *right) for name in outputs))
    return [_compare(name, [s.get(name) for s in left], [s.get(name) for s in right]) for name in names]


def unit_roundoff(dtype: str | np.dtype[Any]) -> float:
    """Half the distance from 1 to the next number of a floating-point type; 0 for other types."""
    dtype = np.dtype(dtype)
    if dtype.kind in "fc" and dtype.isbuiltin == 1:
        return float(np.finfo(dtype).eps) / 2
    if is_float(dtype):
        import ml_dtypes

        return float(ml_dtypes.finfo(dtype).eps) / 2
    return 0.0


def is_float(dtype: str | np.dtype[Any]) -> bool:
    """Whether a type is a floating-point or complex type, those of ml_dtypes included."""
    dtype = np.dtype(dtype)
    return dtype.kind in "fc" or (dtype.kind == "V" and "float" in dtype.name)


def _as_list(outputs: Outputs) -> list[Mapping[str, Array]]:
    return [outputs] if isinstance(outputs, Mapping) else list(outputs)


def _compare(name: str, expected: list[Array | None], actual: list[Array | None]) -> OutputError:
    pairs: list[tuple[Array, Array]] = []
    problem = ""
    for x, y in zip(expected, actual, strict=True):
        if x is None and y is None:
            continue
        if x is None or y is None:
            return OutputError(name, problem="the output is missing" if y is None else "the output is new")
        if x.shape != y.shape:
            return OutputError(name, dtype=x.dtype.name, problem=f"shape {x.shape} became {y.shape}")
        if x.dtype != y.dtype:
            problem = f"type {x.dtype.name} became {y.dtype.name}"
        pairs.append((x, y))
    if not pairs:
        return OutputError(name, problem="the output is missing")
    dtype = pairs[0][0].dtype
    numeric = all(a.dtype.kind not in "OUSb" for pair in pairs for a in pair)
    if not numeric:
        return _compare_exactly(name, pairs, problem)
    return _compare_numbers(name, dtype, pairs, problem)


def _compare_exactly(name: str, pairs: list[tuple[Array, Array]], problem: str) -> OutputError:
    """Compare strings and truth values, for which only equality means anything."""
    size = sum(x.size for x, _ in pairs)
    same = sum(int(np.sum(x == y)) for x, y in pairs)
    share = same / size if size else 1.0
    wrong = float(same != size)
    sqnr = LIMIT_DB if not wrong else _decibel(size, size - same)
    dtype = pairs[0][0].dtype.name
    return OutputError(name, not wrong and not problem, share, wrong, wrong, share, sqnr, dtype=dtype, problem=problem)


def _compare_numbers(name: str, dtype: np.dtype[Any], pairs: list[tuple[Array, Array]], problem: str) -> OutputError:
    wide = np.complex128 if any(a.dtype.kind == "c" for pair in pairs for a in pair) else np.float64
    equal = not problem
    size = same = nonfinite = zeros = 0
    abs_error = rel_error = 0.0
    cosine, signal, noise = 1.0, 0.0, 0.0
    scale = _largest(pairs)
    for x, y in pairs:
        equal = equal and _bitwise(x, y)
        a, b = x.astype(wide), y.astype(wide)
        finite = np.isfinite(a) & np.isfinite(b)
        # The elements as they are, since 64-bit integers do not survive float64 wholly.
        alike = np.asarray(x == y) | (np.isnan(a) & np.isnan(b))
        size, same = size + a.size, same + int(np.sum(alike))
        nonfinite += int(np.sum(~finite & ~alike))
        zeros += int(np.sum((a == 0) & (b == 0) & (np.signbit(a.real) != np.signbit(b.real))))
        # Dividing by the largest element keeps the squares inside the range of float64.
        a, b = a[finite] / scale, b[finite] / scale
        if not a.size:
            continue
        error = np.abs(a - b)
        abs_error = max(abs_error, float(error.max()))
        floor = np.abs(a).max() * (unit_roundoff(dtype) or 2.0**-53)
        rel_error = max(rel_error, float((error / np.maximum(np.abs(a), floor or 1.0)).max()))
        energy, other = float(np.vdot(a, a).real), float(np.vdot(b, b).real)
        signal, noise = signal + energy, noise + float(np.vdot(error, error).real)
        cosine = min(cosine, _cosine(float(np.vdot(a, b).real), energy, other))
    return OutputError(
        name=name,
        equal=equal,
        match=same / size if size else 1.0,
        max_abs_error=min(abs_error * scale, LARGEST),
        max_rel_error=rel_error,
        cosine=0.0 if nonfinite else cosine,
        sqnr_db=-LIMIT_DB if nonfinite else _decibel(signal, noise),
        nonfinite=nonfinite,
        signed_zeros=zeros,
        dtype=dtype.name,
        problem=problem,
    )


def _largest(pairs: list[tuple[Array, Array]]) -> float:
    """The largest finite magnitude in all arrays, 1 where there is none."""
    largest = 0.0
    for array in (a for pair in pairs for a in pair):
        wide = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
        largest = max(largest, float(np.max(wide, initial=0.0, where=np.isfinite(wide))))
    return largest or 1.0


def _bitwise(x: Array, y: Array) -> bool:
    if x.dtype != y.dtype:
        return False
    if not is_float(x.dtype):
        return bool(np.array_equal(x, y))
    nan = np.isnan(x)
    if not np.array_equal(nan, np.isnan(y)):
        return False
    x, y = np.where(nan, np.zeros((), x.dtype), x), np.where(nan, np.zeros((), y.dtype), y)
    return np.ascontiguousarray(x).tobytes() == np.ascontiguousarray(y).tobytes()


def _cosine(product: float, energy: float, other: float) -> float:
    if energy == 0 or other == 0:
        return float(energy == other)
    return max(-1.0, min(1.0, product / math.sqrt(energy) / math.sqrt(other)))


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return LIMIT_DB
    if signal == 0:
        return -LIMIT_DB
    return max(-LIMIT_DB, min(LIMIT_DB, 10 * (math.log10(signal) - math.log10(noise))))
