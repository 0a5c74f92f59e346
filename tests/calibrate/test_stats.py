"""Statistics merged array by array are those of all elements at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.calibrate import BINS, TensorStats

_floats = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**40), 2.0**40, width=32))


@settings(max_examples=60, deadline=None)
@given(st.lists(_floats, min_size=1, max_size=6))
def test_counts_extremes_and_mean_are_those_of_all_elements(arrays: list[np.ndarray]) -> None:
    stats = TensorStats()
    for array in arrays:
        stats.update(array)
    whole = np.concatenate(arrays).astype(np.float64)
    assert stats.count == whole.size == stats.bins.sum()
    assert (stats.minimum, stats.maximum) == (whole.min(), whole.max())
    np.testing.assert_allclose(stats.mean, whole.mean(), rtol=1e-6, atol=1e-6 * np.abs(whole).max())
    assert stats.zeros == int((whole == 0).sum())


@settings(max_examples=40, deadline=None)
@given(st.lists(_floats, min_size=1, max_size=6), st.floats(0, 1))
def test_a_quantile_is_right_to_a_bin(arrays: list[np.ndarray], q: float) -> None:
    stats = TensorStats()
    for array in arrays:
        stats.update(array)
    whole = np.sort(np.concatenate(arrays).astype(np.float64))
    width = (stats.high - stats.low) / BINS
    # between the elements on both sides of the place q·n
    place = q * whole.size
    low, high = whole[max(int(np.floor(place)) - 1, 0)], whole[min(int(np.ceil(place)), whole.size - 1)]
    slack = width + 1e-5 * max(abs(stats.low), abs(stats.high))
    assert low - slack <= stats.quantile(q) <= high + slack


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    stats = TensorStats()
    stats.update(np.array([1, np.nan, np.inf, -2, -np.inf], np.float32))
    assert (stats.count, stats.nonfinite, stats.minimum, stats.maximum) == (2, 3, -2, 1)
    stats.update(np.full(3, np.nan, np.float32))
    assert (stats.count, stats.nonfinite) == (2, 6)


def test_merging_records_is_updating_with_their_elements_up_to_a_bin() -> None:
    rng = np.random.default_rng(0)
    left, right, both = TensorStats(), TensorStats(), TensorStats()
    one, other = rng.standard_normal(5000).astype(np.float32), (40 + rng.standard_normal(3000)).astype(np.float32)
    left.update(one)
    right.update(other)
    both.update(one)
    both.update(other)
    left.merge(right)
    assert left.count == both.count == left.bins.sum()
    width = max(left.high - left.low, both.high - both.low) / BINS
    for q in (0.01, 0.3, 0.6, 0.7, 0.99):
        assert abs(left.quantile(q) - both.quantile(q)) <= 2 * width


def test_a_range_that_grows_a_thousandfold_keeps_every_element() -> None:
    stats = TensorStats()
    for power in range(40):
        stats.update(np.array([2.0**power, -(2.0**power)], np.float32))
    assert stats.bins.sum() == 80
    assert stats.low <= -(2.0**39)
    assert stats.high >= 2.0**39


def test_half_precision_and_constants_are_taken() -> None:
    stats = TensorStats()
    stats.update(np.full((2, 3), 0.5, np.float16))
    assert (stats.count, stats.minimum, stats.maximum, stats.quantile(0.5)) == (6, 0.5, 0.5, 0.5)
