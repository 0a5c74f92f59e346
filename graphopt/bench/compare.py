"""Is one model faster than another? A ratio, what it may be as well, and no conclusion where noise could explain it.

In every round all models have a turn, so what the machine does beside hits all alike: the figure of a round is one
model's time ÷ the other's. Every process has an interval for the median of its rounds by the bootstrap (B. Efron and
R. Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13: percentiles of 95 %). Processes differ in ways that no
round shows, as in where their memory lies; so the interval that counts reaches over those of all processes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
RESOLUTION = 0.01
"""A difference below this is not told: two processes of one and the same model differ by as much."""


@dataclass(frozen=True)
class Comparison:
    """How long one model takes, as a share of the first.

    Attributes:
        ratio: time ÷ the first's: 0.5 is twice as fast. None where the two did not do the same work.
        low, high: the interval around it.
        verdict: "faster", "slower" or "undecided"; "incomparable" where there is no ratio.
        reason: one sentence.
    """

    ratio: float | None
    low: float | None
    high: float | None
    verdict: Literal["faster", "slower", "undecided", "incomparable"]
    reason: str


def compare(first: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Comparison:
    """Compare the seconds of rounds.

    Args:
        first: for each process, the seconds of the first model in each round.
        other: the same of the other model, in the same rounds.
    """
    shares = [[b / a for a, b in zip(*pair, strict=True)] for pair in zip(first, other, strict=True)]
    ratio = statistics.median(share for one in shares for share in one)
    bounds = [_interval(one) for one in shares]
    low, high = min(lower for lower, _ in bounds), max(upper for _, upper in bounds)
    between = f"{_percent(low)} to {_percent(high)} with {100 * CONFIDENCE:.0f} % confidence"
    share = f"{_percent(ratio)} time, {between}"
    if high < 1 - RESOLUTION:
        return Comparison(ratio, low, high, "faster", f"{1 / ratio:.2f} times as fast: {share}")
    if low > 1 + RESOLUTION:
        return Comparison(ratio, low, high, "slower", f"{ratio:.2f} times as slow: {share}")
    if max(high - 1, 1 - low) <= 2 * RESOLUTION:
        reason = f"no difference beyond {100 * max(high - 1, 1 - low):.1f} %: {between}"
    else:
        reason = f"no difference can be told: the noise, {_percent(low)} to {_percent(high)} time, exceeds it"
    return Comparison(ratio, low, high, "undecided", reason)


def incomparable(reason: str) -> Comparison:
    """No ratio, and why."""
    return Comparison(None, None, None, "incomparable", reason)


def _percent(ratio: float) -> str:
    """A share of time as a change, as "−46 %"."""
    change = 100 * (ratio - 1)
    return f"{change:+.{0 if abs(change) >= 10 else 1}f} %".replace("-", "−")


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Bounds for the median of what the values are drawn from."""
    if len(values) < 2 or math.isclose(min(values), max(values)):
        return min(values), max(values)
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.array(values),), np.median, confidence_level=CONFIDENCE, method="percentile", n_resamples=2000,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
