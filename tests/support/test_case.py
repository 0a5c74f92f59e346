"""Values that a verdict does not hang on: without ties where an order is asked, without overflow in a long product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.support.case import Arg, alike

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


@settings(deadline=None)
@given(SHAPES, st.sampled_from(["float32", "float16", "int8", "uint8", "int64"]), st.text(max_size=4))
def test_distinct_values_have_no_ties_along_any_axis(shape: tuple[int, ...], dtype: str, seed: str) -> None:
    array = Arg(shape, dtype, kind="distinct").array(seed)
    for axis, size in enumerate(shape):
        ordered = np.sort(array.astype(np.float64), axis=axis)
        assert (np.diff(ordered, axis=axis) > 0).all()
        assert array.shape[axis] == size


@settings(deadline=None)
@given(SHAPES, st.sampled_from(["float32", "float16", "int32", "uint8"]), st.text(max_size=4))
def test_a_product_of_values_near_one_stays_in_half_precision(shape: tuple[int, ...], dtype: str, seed: str) -> None:
    array = Arg(shape, dtype, kind="near one").array(seed).astype(np.float64)
    assert 0 < abs(array.prod()) < np.finfo(np.float16).max


@pytest.mark.parametrize(("op_type", "count", "index", "same"), [("Conv", 3, 0, [0, 1, 2]), ("Gather", 2, 0, [0])])
def test_inputs_that_share_a_dtype_by_the_schema(op_type: str, count: int, index: int, same: list[int]) -> None:
    assert alike(op_type, 17, count, index) == same
