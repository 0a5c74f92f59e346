"""What is kept of a value over all samples: extremes, mean and a histogram, merged array by array."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 2048
"""Bins of a histogram, an even number. A range that doubles merges bins in pairs, so at least half of them are used."""
_CHUNK = 1 << 22
"""Elements that are looked at together, so that the temporary arrays of a large activation stay small."""
_COUNTED = 1 << 16
"""Elements of a chunk that the histogram counts, evenly apart: a few samples of it tell a distribution well enough."""


@dataclass
class TensorStats:
    """Statistics of one value; `update` adds an array, `merge` another record.

    The histogram covers [low, high] with `BINS` bins of equal width. Where an element falls outside, the range is
    doubled towards it and bins are merged in pairs: no element is counted twice, none is lost, and what was counted
    stays in a bin that holds it. Of a large array the histogram counts a part, evenly spread; extremes are of all of
    it. Non-finite elements are counted in `nonfinite` and nowhere else.

    Attributes:
        histograms: whether `bins` is kept.
        count: finite elements seen.
        minimum: the smallest of them, +∞ before the first.
        maximum: the largest of them, -∞ before the first.
        total: their sum.
        zeros: how many of those that the histogram counts are exactly 0: these survive quantization without an error.
        nonfinite: elements that are NaN or infinite.
        bins: counts (BINS,) of int64; empty without histograms or before the first element.
        low: left edge of the first bin.
        high: right edge of the last bin.
    """

    histograms: bool = True
    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    total: float = 0.0
    zeros: int = 0
    nonfinite: int = 0
    bins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    low: float = 0.0
    high: float = 0.0

    @property
    def mean(self) -> float:
        """Mean of the finite elements, 0 where there are none."""
        return self.total / self.count if self.count else 0.0

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins (BINS + 1,)."""
        return np.linspace(self.low, self.high, len(self.bins) + 1)

    def update(self, array: np.ndarray) -> None:
        """Add the elements of an array of floating-point numbers."""
        flat = np.ravel(array)
        for start in range(0, flat.size, _CHUNK):
            self._add(flat[start : start + _CHUNK])

    def _add(self, given: np.ndarray) -> None:
        values = given if given.dtype in (np.float32, np.float64) else given.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            finite = values[np.isfinite(values)]
            self.nonfinite += values.size - finite.size
            if not finite.size:
                return
            values, low, high = finite, float(finite.min()), float(finite.max())
        self.count += values.size
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.total += float(values.sum(dtype=np.float64))
        if self.histograms:
            # An odd step in a row of channels or pixels, whose number is mostly even, meets all of them.
            counted = values[:: values.size // _COUNTED | 1] if values.size > _COUNTED else values
            self.zeros += counted.size - int(np.count_nonzero(counted))
            self._cover(low, high)
            self.bins += self._binned(counted.astype(np.float64))

    def merge(self, other: TensorStats) -> None:
        """Add what another record has seen, as far as its bins tell: each of its bins counts at its middle."""
        if not other.count:
            self.nonfinite += other.nonfinite
            return
        self.count, self.nonfinite = self.count + other.count, self.nonfinite + other.nonfinite
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.total, self.zeros = self.total + other.total, self.zeros + other.zeros
        if self.histograms and other.bins.size:
            self._cover(other.minimum, other.maximum)
            middles = (other.edges[:-1] + other.edges[1:]) / 2
            # The outer bins may reach beyond what was seen, and so beyond the range here.
            places = self._places(np.clip(middles, other.minimum, other.maximum))
            self.bins += np.bincount(places, other.bins, BINS).astype(np.int64)

    def quantile(self, q: float) -> float:
        """The value below which a share q of the elements lies, linear inside a bin.

        Args:
            q: from 0 to 1; 0 is the minimum and 1 the maximum.

        Raises:
            ValueError: nothing was seen, or no histogram was kept.
        """
        if not self.count or not self.bins.size:
            raise ValueError("there is no histogram to take a quantile of")
        below = np.cumsum(self.bins)
        wanted = min(max(q, 0.0), 1.0) * float(below[-1])
        place = min(int(np.searchsorted(below, wanted)), BINS - 1)
        before = float(below[place - 1]) if place else 0.0
        share = (wanted - before) / max(float(self.bins[place]), 1.0)
        found = self.low + (place + share) * (self.high - self.low) / BINS
        return float(min(max(found, self.minimum), self.maximum))

    def _cover(self, low: float, high: float) -> None:
        """Let the range hold [low, high]."""
        if not self.bins.size:
            # A constant gets a range of its own size, so that it doubles in few steps.
            least = max(abs(low), abs(high), 1e-30) * 1e-6
            self.low, self.high = low, max(high, low + least)
            self.bins = np.zeros(BINS, np.int64)
        while high > self.high:
            self.high += self.high - self.low
            self.bins = np.concatenate([_paired(self.bins), np.zeros(BINS // 2, np.int64)])
        while low < self.low:
            self.low -= self.high - self.low
            self.bins = np.concatenate([np.zeros(BINS // 2, np.int64), _paired(self.bins)])

    def _places(self, values: np.ndarray) -> np.ndarray:
        scaled = (values - self.low) * (BINS / (self.high - self.low))
        return np.clip(scaled.astype(np.int64), 0, BINS - 1)

    def _binned(self, values: np.ndarray) -> np.ndarray:
        counts: np.ndarray = np.bincount(self._places(values), minlength=BINS)
        return counts


def _paired(bins: np.ndarray) -> np.ndarray:
    sums: np.ndarray = bins.reshape(-1, 2).sum(1)
    return sums
