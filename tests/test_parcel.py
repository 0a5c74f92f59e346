"""What processes hand each other comes out as it went in, and is not code."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from graphopt.parcel import pack, unpack

ARRAYS = {
    "float": np.array([[1.5, -0.0, np.nan, np.inf]], np.float32),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.uint8),
    "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
    "brain": np.array([1, 2.5], ml_dtypes.bfloat16),
    "four bits": np.array([[-8, 7]], ml_dtypes.int4),
    "complex": np.array([1 + 2j], np.complex64),
    "words": np.array([["", "ü\0"], ["a b", "\ud800"]], object),
    "fixed words": np.array(["one", "three"]),
    "truth": np.array([True, False]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_out_as_it_went_in(name: str) -> None:
    ((_, back),) = unpack(pack([{name: ARRAYS[name]}]))[0].items()
    assert (back.dtype, back.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
    assert back.tolist() == ARRAYS[name].tolist() or back.tobytes() == ARRAYS[name].tobytes()


def test_samples_keep_their_order_and_their_names() -> None:
    first, second = {"x": np.zeros(2), "": np.ones(1)}, dict[str, np.ndarray]()
    assert [list(sample) for sample in unpack(pack([first, second, first]))] == [["x", ""], [], ["x", ""]]
