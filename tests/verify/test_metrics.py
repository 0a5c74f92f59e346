"""The error metrics, as properties over arbitrary arrays."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.verify import compare
from graphopt.verify.metrics import OutputError

ANY_FLOAT = hnp.arrays(np.float32, hnp.array_shapes(max_side=4), elements=st.floats(width=32))
TWO_FLOATS = hnp.array_shapes(max_side=4).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats())] * 2)
)
FINITE = hnp.arrays(np.float64, 6, elements=st.floats(-1e3, 1e3).map(lambda v: round(v, 3)))


def one(x: Any, y: Any) -> OutputError:
    (error,) = compare({"y": np.asarray(x)}, {"y": np.asarray(y)})
    return error


@given(ANY_FLOAT)
def test_an_output_equals_itself_whatever_it_holds(x: Any) -> None:
    error = one(x, x.copy())
    assert error.equal
    assert (error.match, error.max_abs_error, error.max_rel_error, error.sqnr_db) == (1, 0, 0, 300)
    assert error.cosine == pytest.approx(1)


@given(TWO_FLOATS)
def test_every_number_can_be_written_as_json(pair: tuple[Any, Any]) -> None:
    json.dumps(dataclasses.asdict(one(*pair)), allow_nan=False)


@given(FINITE, FINITE)
def test_the_numbers_follow_their_formulas(x: Any, y: Any) -> None:
    assume(np.abs(x - y).sum() > 0 and np.abs(x).sum() > 0 and np.abs(y).sum() > 0)
    error = one(x, y)
    assert error.max_abs_error == pytest.approx(np.abs(x - y).max())
    assert error.sqnr_db == pytest.approx(10 * math.log10((x**2).sum() / ((x - y) ** 2).sum()))
    assert error.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    if (x != 0).all():
        assert error.max_rel_error == pytest.approx((np.abs(x - y) / np.abs(x)).max())


@given(FINITE, FINITE, st.integers(-200, 200))
def test_the_scale_of_the_outputs_does_not_change_the_sqnr(x: Any, y: Any, exponent: int) -> None:
    assert one(x * 2.0**exponent, y * 2.0**exponent).sqnr_db == pytest.approx(one(x, y).sqnr_db)


def test_the_sqnr_is_over_the_energy_of_all_samples_and_the_rest_is_the_worst_sample() -> None:
    expected = [{"y": np.array([10.0, 0.0])}, {"y": np.array([1.0, 0.0])}]
    actual = [{"y": np.array([10.0, 0.0])}, {"y": np.array([0.0, 1.0])}]
    (error,) = compare(expected, actual)
    assert error.sqnr_db == pytest.approx(10 * math.log10(101 / 2))
    assert (error.cosine, error.max_abs_error, error.match) == (0, 1, 0.5)


def test_zeros_of_different_sign_are_close_but_not_equal() -> None:
    error = one(np.float32([0.0, 1]), np.float32([-0.0, 1]))
    assert (error.equal, error.signed_zeros, error.match, error.sqnr_db) == (False, 1, 1, 300)


def test_nan_and_infinity_count_only_where_they_differ() -> None:
    assert one([np.nan, np.inf, 1], [np.nan, np.inf, 1]).equal
    error = one([np.nan, np.inf, 1], [1, -np.inf, 1])
    assert (error.nonfinite, error.equal, error.sqnr_db) == (2, False, -300)


@pytest.mark.parametrize(("x", "y", "db"), [([0.0], [0.0], 300), ([0.0], [1.0], -300), ([1.0], [0.0], 0)])
def test_silence_has_a_defined_ratio(x: list[float], y: list[float], db: float) -> None:
    assert one(x, y).sqnr_db == db


def test_large_integers_are_compared_exactly() -> None:
    error = one(np.int64([2**62, 5]), np.int64([2**62 + 1, 5]))
    assert (error.equal, error.match) == (False, 0.5)


def test_strings_and_truth_values_count_matches() -> None:
    assert one(np.array(["a", "b"], object), np.array(["a", "c"], object)).match == 0.5
    assert one([True, False], [True, False]).equal


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.complex64])
def test_other_element_types_are_compared_too(dtype: Any) -> None:
    x = np.array([1, 2], dtype)
    assert one(x, x).equal
    assert one(x, np.array([1, 4], dtype)).max_abs_error == 2


@pytest.mark.parametrize(
    ("expected", "actual", "problem"),
    [
        ({"y": np.zeros(2)}, {}, "missing"),
        ({}, {"y": np.zeros(2)}, "new"),
        ({"y": np.zeros(2)}, {"y": np.zeros((2, 1))}, "shape"),
        ({"y": np.zeros(2)}, {"y": np.zeros(2, np.float32)}, "type float64 became float32"),
    ],
)
def test_what_cannot_be_compared_is_a_problem(expected: Any, actual: Any, problem: str) -> None:
    (error,) = compare(expected, actual)
    assert problem in error.problem
    assert not error.equal


def test_an_empty_output_equals_an_empty_output() -> None:
    assert one(np.zeros((0, 3)), np.zeros((0, 3))).equal


@pytest.mark.parametrize(
    ("graph", "scale"),
    [
        ("y = Sigmoid(x)", 1.0),
        ("a = Softmax(x) y = Transpose<perm = [1, 0]>(a)", 1.0),
        ("a = Tanh(x) b = Sigmoid(x) y = Concat<axis = 0>(a, b)", 1.0),
        ("a = Sigmoid(x) y = Add(a, x)", None),
        ("y = Relu(x)", None),
    ],
)
def test_an_output_has_the_scale_that_its_making_bounds_it_to(graph: str, scale: float | None) -> None:
    import onnx.parser
    import onnx_ir as ir

    from graphopt.verify import natural_scale

    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[2,2] x) => (float[M,N] y) {{ {graph} }}'
    model = ir.serde.deserialize_model(onnx.parser.parse_model(text))
    assert natural_scale(model.graph.outputs[0]) == scale
