"""Values that inputs are given become their defaults, or one sentence says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from graphopt.errors import UserError
from graphopt.ir import load
from graphopt.verify import generate, give_values, parse_values, real_inputs, run

TEXT = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N] x, int64 sr, float[2] gain, bool on, string word, int8[M, K] codes) => (float[N] y) { y = Neg (x) }"""


def model() -> ir.Model:
    return load(parser.parse_model(TEXT))


def given(name: str, value: Any, **dims: Any) -> np.ndarray:
    one = model()
    give_values(one, {name: value}, dims)
    tensor = one.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sr", "16000", np.array(16000)), ("sr", 8000, np.array(8000)), ("sr", np.int32(8), np.array(8)),
        ("gain", "0.5, 2", np.array([0.5, 2], np.float32)), ("gain", [1, 2], np.array([1, 2], np.float32)),
        ("on", "true", np.array(True)), ("on", False, np.array(False)), ("word", "hey", np.array(b"hey", object)),
        ("x", "1,2,3", np.array([1, 2, 3], np.float32)),
    ],
)  # fmt: skip
def test_a_value_has_the_type_and_the_shape_of_its_input(name: str, value: Any, expected: np.ndarray) -> None:
    found = given(name, value)
    if expected.dtype == object:
        assert found.item() in (b"hey", "hey")
        return
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_free_sizes_come_from_dim() -> None:
    assert given("codes", "1,2,3,4,5,6", M=2, K=3).shape == (2, 3)
    assert given("codes", "1,2,3,4,5,6", codes=(3, 2)).shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gian", "1", "did you mean 'gain'"), ("rate", "1", "it has x, sr"), ("sr", "no", "int64, which 'no' is not"),
        ("sr", "1.5", "which '1.5' is not"), ("sr", 1.5, "which 1.5 is not"), ("sr", "1,2", "takes 1"),
        ("gain", "1", "takes 2"), ("on", "2", "bool"), ("codes", "1", "--dim"), ("sr", str(2**63), "int64"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(name: str, value: Any, words: str) -> None:
    with pytest.raises(UserError) as refused:
        given(name, value)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_whoever_runs_the_model_need_not_feed_them() -> None:
    one = model()
    give_values(one, {"sr": 1, "gain": "1,2", "on": "1", "word": "w", "codes": "1"}, {"M": 1, "K": 1})
    assert [value.name for value in real_inputs(one)] == ["x"]
    samples = generate(one, samples=1)
    assert list(samples[0]) == ["x"]
    assert run(one, samples)[0]["y"].shape == samples[0]["x"].shape


@pytest.mark.parametrize("text", ["sr", "=1", "sr="])
def test_words_that_are_not_name_and_value_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="NAME=VALUE"):
        parse_values([text])


def test_one_input_has_one_value() -> None:
    assert parse_values(["a=1", "a=1", "b=c=2"]) == {"a": "1", "b=c": "2"}
    with pytest.raises(UserError, match="twice"):
        parse_values(["a=1", "a=2"])
