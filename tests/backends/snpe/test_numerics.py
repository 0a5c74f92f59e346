"""What counts as agreement on the HTP."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt_backends.snpe.numerics import compare


@pytest.mark.parametrize(
    ("got", "right", "quantized", "ok"),
    [
        ([1.0, 2.002], [1.0, 2.0], False, True),  # a few fp16 roundings
        ([0.6931 + 0.0125, 1.0], [0.6931, 1.0], False, True),  # the table that Softplus is
        ([0.0102], [0.0097], False, True),  # what rounding leaves of a difference of numbers around 1
        ([1.0, 2.1], [1.0, 2.0], False, False),
        ([1.0, 2.06], [1.0, 2.0], True, True),  # within 3 % of the range
        ([np.nan, 1.0], [np.nan, 1.0], False, True),
        ([0.0, 1.0], [np.nan, 1.0], False, False),
        ([np.inf, 1.0], [7e4, 1.0], False, False),  # fp16 overflow
        ([-np.inf, 1.0], [np.inf, 1.0], False, False),
        ([[1.0, 2.0]], [1.0, 2.0], False, False),  # another shape
    ],
)
def test_float_tolerance(got: list[float], right: list[float], quantized: bool, ok: bool) -> None:
    why = compare(np.asarray(got, np.float32), np.asarray(right, np.float32), quantized=quantized)
    assert (why == "") is ok


def test_integers_are_exact_except_for_one_step_of_a_quantized_byte() -> None:
    right = np.array([1, 200], np.uint8)
    assert compare(right, right, quantized=False) == ""
    assert compare(right + np.uint8(1), right, quantized=False)
    assert compare(right + np.uint8(1), right, quantized=True) == ""
    assert compare(right + np.uint8(2), right, quantized=True)
    assert compare(right.astype(np.int64) + 1, right.astype(np.int64), quantized=True)
