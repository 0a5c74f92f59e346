"""Which range of an activation its codes cover: less than all it takes buys finer steps.

minmax      all that was seen
percentile  between the 0.01st and the 99.99th percentile
entropy     the clipping threshold of least Kullback-Leibler divergence (Migacz, "8-bit inference with TensorRT",
            GTC 2017), for codes of 8 bits; minmax for wider ones
mse         least Σ h (x − Q(x))² over the histogram (Banner et al. 2019, arXiv:1810.05723, set the objective)
octav       the fixed point of s = E[|x| · 1(|x| > s)] / (4⁻ᵇ/3 · P(|x| ≤ s) + P(|x| > s))
            (Sakr et al. 2022, arXiv:2206.06501, equation 6)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from graphopt.calibrate import TensorStats
from graphopt.quantize.grid import from_range
from graphopt.quantize.scheme import Codes

Method = Literal["minmax", "percentile", "entropy", "mse", "octav"]
Range = tuple[float, float]
_Floats = npt.NDArray[np.float64]

_TAIL = 1e-4
_SHRINKS = np.linspace(1.0, 0.3, 36)
"""Shares of the seen range that `mse` tries on each side."""
_LEVELS, _KL_STRIDE = 128, 16
_OCTAV_TURNS = 30


def choose(stats: TensorStats, kind: Codes, method: Method) -> Range:
    """The range (low, high) that codes of a value cover.

    Args:
        stats: of the value, with a histogram.
        kind: the codes.
        method: see the module.

    Raises:
        ValueError: nothing was seen of the value.
    """
    if not stats.count:
        raise ValueError("no sample gives this value a finite element")
    whole = (stats.minimum, stats.maximum)
    if method == "minmax" or not stats.bins.size or stats.minimum == stats.maximum:
        return whole
    low, high = _METHODS[method](stats, kind)
    # What is not clipped at all keeps its own end, which the edges of the bins reach beyond.
    return max(low, stats.minimum), min(high, stats.maximum)


def _percentile(stats: TensorStats, kind: Codes) -> Range:
    return stats.quantile(_TAIL), stats.quantile(1 - _TAIL)


def _weights(stats: TensorStats) -> tuple[_Floats, _Floats]:
    """Middles of the bins and their counts, without what is exactly 0, which every grid has a code for."""
    middles = (stats.edges[:-1] + stats.edges[1:]) / 2
    counts = stats.bins.astype(np.float64)
    if stats.low <= 0.0 <= stats.high:
        place = min(int((0.0 - stats.low) / (stats.high - stats.low) * counts.size), counts.size - 1)
        counts[place] = max(counts[place] - stats.zeros, 0.0)
    kept = counts > 0
    return np.clip(middles[kept], stats.minimum, stats.maximum), counts[kept]


def _error(middles: _Floats, counts: _Floats, low: float, high: float, kind: Codes) -> float:
    grid = from_range(low, high, kind)
    least, most = grid.bounds
    step = float(grid.scale)
    # Inside, the error is that of rounding a number that lies anywhere in its step; a bin may be finer than that.
    outside = np.where(middles > most, middles - most, np.where(middles < least, least - middles, 0.0))
    return float(counts @ (outside**2 + np.where(outside > 0, 0.0, step**2 / 12)))


def _mse(stats: TensorStats, kind: Codes) -> Range:
    middles, counts = _weights(stats)
    low, high = min(stats.minimum, 0.0), max(stats.maximum, 0.0)
    if not counts.size:
        return low, high
    if kind.symmetric:
        peak = max(-low, high)
        share = min(_SHRINKS, key=lambda s: _error(middles, counts, -peak * s, peak * s, kind))
        return -peak * share, peak * share
    left = right = 1.0
    for _ in range(2):  # each side for the other's best: the objective is nearly separable
        if high > 0:
            right = min(_SHRINKS, key=lambda s: _error(middles, counts, low * left, high * s, kind))
        if low < 0:
            left = min(_SHRINKS, key=lambda s: _error(middles, counts, low * s, high * right, kind))
    return low * left, high * right


def _octav(stats: TensorStats, kind: Codes) -> Range:
    middles, counts = _weights(stats)
    if not counts.size:
        return stats.minimum, stats.maximum
    sides = np.abs(middles)
    # Codes of one sign spend all their bits on it: the step is half as wide as the formula, made for both, has it.
    one_sided = not kind.symmetric and (stats.minimum >= 0 or stats.maximum <= 0)
    factor = 4.0 ** -(kind.bits + one_sided) / 3
    mass = counts / counts.sum()
    clip = float(sides @ mass)
    for _ in range(_OCTAV_TURNS):
        over = sides > clip
        clip = float((sides * mass)[over].sum() / (factor * mass[~over].sum() + mass[over].sum() + 1e-300)) or clip
    return max(stats.minimum, -clip), min(stats.maximum, clip)


def _entropy(stats: TensorStats, kind: Codes) -> Range:
    if kind.bits != 8:
        return stats.minimum, stats.maximum
    middles, counts = _weights(stats)
    peak = max(-stats.minimum, stats.maximum)
    if not counts.size or not peak:
        return stats.minimum, stats.maximum
    size = stats.bins.size
    heights, _ = np.histogram(np.abs(middles), size, (0.0, peak), weights=counts)
    ends = np.arange(_LEVELS, size + 1, _KL_STRIDE)
    best = min(ends, key=lambda end: _divergence(heights, int(end)))
    clip = float(best) / size * peak
    return max(stats.minimum, -clip), min(stats.maximum, clip)


def _divergence(heights: _Floats, end: int) -> float:
    """Of a histogram that is cut at a bin, from what `_LEVELS` levels keep of it."""
    wanted = heights[:end].copy()
    level = np.minimum(np.arange(end) * _LEVELS // end, _LEVELS - 1)
    filled = wanted > 0
    sums, sizes = np.bincount(level, wanted, _LEVELS), np.bincount(level, filled, _LEVELS)
    kept = np.where(filled, (sums / np.maximum(sizes, 1))[level], 0.0)
    wanted[-1] += heights[end:].sum()
    kept[-1] = max(kept[-1], 1e-12) if wanted[-1] else kept[-1]
    p, q = wanted / wanted.sum(), kept / max(kept.sum(), 1e-300)
    both = p > 0
    return float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-30))).sum())


_METHODS: Mapping[str, Callable[[TensorStats, Codes], Range]] = {
    "percentile": _percentile, "entropy": _entropy, "mse": _mse, "octav": _octav,
}  # fmt: skip
