"""Grids and the ranges they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.calibrate import TensorStats
from graphopt.quantize.grid import fixed, from_range, of_weights
from graphopt.quantize.ranges import Method, choose
from graphopt.quantize.scheme import Codes

KINDS = [
    Codes(dtype="int8"), Codes(dtype="uint8"), Codes(dtype="int16", symmetric=True), Codes(dtype="uint16"),
    Codes(dtype="int8", symmetric=True, narrow=True), Codes(dtype="uint8", symmetric=True),
]  # fmt: skip
METHODS: list[Method] = ["minmax", "percentile", "entropy", "mse", "octav"]


def seen(values: np.ndarray) -> TensorStats:
    stats = TensorStats()
    stats.update(values.astype(np.float32))
    return stats


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.dtype}-{kind.symmetric}")
@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_zero_is_representable_and_the_range_is_covered(kind: Codes, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    grid = from_range(low, high, kind)
    step = float(grid.scale)
    assert grid.decode(grid.encode(np.zeros(1)))[0] == 0.0
    ends = grid.decode(grid.encode(np.array([low, high])))
    np.testing.assert_allclose(ends, [low, high], atol=step * 0.51 + 1e-30)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.dtype}-{kind.symmetric}")
@given(values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20))
def test_codes_of_what_codes_stand_for_are_these_codes(kind: Codes, values: list[float]) -> None:
    grid = from_range(min(values), max(values), kind)
    codes = grid.encode(np.array(values))
    assert np.array_equal(grid.encode(grid.decode(codes)), codes)


def test_prescribed_grids_are_those_of_the_specification() -> None:
    int8, int16 = Codes(dtype="int8"), Codes(dtype="int16", symmetric=True)
    told = [fixed(0, 1, int8), fixed(-1, 1, int8), fixed(-16, 0, int8), fixed(0, 1, int16), fixed(-1, 1, int16)]
    assert [(1 / float(grid.scale), int(grid.zero)) for grid in told] == [
        (256, -128), (128, 0), (16, 127), (32768, 0), (32768, 0)
    ]  # fmt: skip
    assert [int(fixed(*r, Codes(dtype="uint16")).zero) for r in ((0, 1), (-1, 1))] == [0, 32768]


def test_a_channel_of_zeros_and_a_channel_of_tiny_weights_have_scales() -> None:
    weights = np.array([[0.0, 0.0], [1e-44, -1e-44], [1.0, -2.0]], np.float32)
    grid = of_weights(weights, KINDS[4], 0)
    assert (grid.scale > 0).all()
    assert np.isfinite(grid.scale).all()
    assert grid.encode(weights)[2].tolist() == [64, -127] or grid.encode(weights)[2].tolist() == [63, -127]


@pytest.mark.parametrize("method", METHODS)
def test_a_range_lies_inside_what_was_seen(method: Method) -> None:
    rng = np.random.default_rng(1)
    for values in (rng.normal(size=5000), np.maximum(rng.normal(size=5000), 0), np.full(10, 3.0), np.zeros(10)):
        stats = seen(values)
        low, high = choose(stats, KINDS[0], method)
        assert stats.minimum <= low <= high <= stats.maximum


@pytest.mark.parametrize("method", ["mse", "octav", "percentile"])
def test_one_outlier_of_many_is_clipped(method: Method) -> None:
    values = np.append(np.random.default_rng(2).normal(size=200_000), 500.0)
    assert choose(seen(values), KINDS[0], method)[1] < 475


def test_mse_leaves_no_more_error_than_minmax() -> None:
    rng = np.random.default_rng(3)
    for values in (rng.laplace(size=20_000), rng.normal(size=20_000), rng.uniform(-1, 1, 20_000)):
        errors = []
        for method in ("minmax", "mse"):
            grid = from_range(*choose(seen(values), KINDS[0], method), KINDS[0])  # type: ignore[arg-type]
            errors.append(float(np.square(values - grid.decode(grid.encode(values))).mean()))
        assert errors[1] <= errors[0] * 1.01


def test_octav_is_the_fixed_point_of_its_formula() -> None:
    values = np.random.default_rng(4).laplace(size=60_000)
    clip = choose(seen(values), KINDS[4], "octav")[1]
    sizes = np.abs(values)
    over = sizes > clip
    again = sizes[over].sum() / (4.0**-8 / 3 * (~over).sum() + over.sum())
    assert clip == pytest.approx(again, rel=0.02)
