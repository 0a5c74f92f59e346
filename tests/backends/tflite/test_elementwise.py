from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

UNARY = [
    *("Abs", "Ceil", "Cos", "Cosh", "Elu", "Celu", "Selu", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Mish", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh"),
    *("ThresholdedRelu", "Reciprocal", "Atan", "Shrink"),
]


@pytest.mark.parametrize("op_type", UNARY)
def test_a_function_of_one_tensor_agrees(one, floats, op_type):
    one(op_type, {"x": 3 * floats(2, 3, 4, 5)}, opset=18)


@pytest.mark.parametrize("op_type", ["Log", "Sqrt", "Asin", "Acos"])
def test_a_function_of_a_limited_domain_agrees(one, floats, op_type):
    one(op_type, {"x": np.clip(np.abs(floats(2, 30)), 0.01, 1)})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_agrees(one, floats, approximate):
    assert one("Gelu", {"x": 3 * floats(4, 50)}, opset=20, approximate=approximate) == ["GELU"]


@pytest.mark.parametrize(
    ("op_type", "slope"), [("Elu", 0.3), ("Celu", 2.0), ("LeakyRelu", 0.2), ("ThresholdedRelu", 0.5)]
)
def test_a_slope_is_kept(one, floats, op_type, slope):
    one(op_type, {"x": floats(3, 40)}, alpha=slope)


@pytest.mark.parametrize("opset", [7, 11, 13, 20])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (-0.5, 0.7)])
def test_clip_agrees_with_bounds_as_attributes_and_as_inputs(one, floats, opset, low, high):
    x = 4 * floats(3, 40)
    if opset < 11:
        one("Clip", {"x": x}, opset=opset, min=low, max=high)
    else:
        one("Clip", {"x": x}, {"low": np.float32(low), "high": np.float32(high)}, opset=opset)


def test_clip_with_bounds_computed_at_run_time_agrees(one, floats):
    one("Clip", {"x": floats(3, 40), "low": np.asarray(-0.3, "f"), "high": np.asarray(0.4, "f")})


@st.composite
def broadcast_pairs(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=0, max_size=6))
    pairs = []
    for _ in range(2):
        kept = [dim if draw(st.booleans()) else 1 for dim in shape]
        pairs.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return pairs


@settings(max_examples=80, deadline=None)
@given(broadcast_pairs(), st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Less", "Equal", "Where"]), st.booleans())
def test_broadcasting_agrees_or_is_declined_for_its_rank(agrees, lowered, model, pair, op_type, constant):
    a, b = (np.asarray(np.random.default_rng(3).normal(size=shape) + 2, np.float32) for shape in pair)
    inputs, constants = ({"a": a}, {"b": b}) if constant else ({"a": a, "b": b}, {})
    nodes = [helper.make_node(op_type, ["a", "b"], ["y"])]
    if op_type == "Where":
        constants["c"] = np.asarray(True)
        nodes = [helper.make_node("Where", ["c", "a", "b"], ["y"])]
    made = model(nodes, inputs, constants)
    if lowered(made).content is None:
        assert max(a.ndim, b.ndim) > 4
        assert "broadcasting over" in lowered(made).issues[0].reason
    else:
        agrees(made, inputs)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Max", "Min", "Equal", "Greater", "Mod"])
def test_whole_numbers_agree_exactly(one, op_type, dtype):
    rng = np.random.default_rng(1)
    one(op_type, {"a": rng.integers(-9, 9, (4, 5)).astype(dtype), "b": rng.integers(1, 9, (5,)).astype(dtype)})


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_logic_agrees(one, op_type):
    one(op_type, {"a": np.asarray([True, True, False, False]), "b": np.asarray([True, False, True, False])})


@pytest.mark.parametrize("op_type", ["Sum", "Mean", "Max", "Min"])
def test_functions_of_many_tensors_agree(one, floats, op_type):
    one(op_type, {"a": floats(2, 3), "b": floats(3), "c": floats(2, 1)})


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0, -1.5])
def test_pow_agrees(one, floats, exponent):
    one("Pow", {"x": np.abs(floats(3, 20)) + 0.1}, {"e": np.float32(exponent)})


@pytest.mark.parametrize("slope", [(3, 1, 1), (1,), (1, 3, 4, 5)])
def test_prelu_agrees(one, floats, slope):
    one("PRelu", {"x": floats(1, 3, 4, 5)}, {"slope": floats(*slope)})


def test_not_a_number_and_infinity_are_found(one):
    x = np.asarray([1.0, np.nan, np.inf, -np.inf], np.float32)
    one("IsNaN", {"x": x})
    for negative, positive in ((1, 1), (0, 1), (1, 0)):
        one("IsInf", {"x": x}, detect_negative=negative, detect_positive=positive)


def test_an_element_type_that_litert_does_not_run_is_declined(declined):
    assert "does not run on float64" in declined("Add", {"a": np.ones(3), "b": np.ones(3)})
    assert "takes that of the divisor" in declined("Mod", {"a": np.ones(3, "f"), "b": np.ones(3, "f")}, fmod=1)
