"""What is written as a Gather by position keeps what the standard leaves no doubt about."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load, to_proto
from graphopt.verify import run

Apply = Callable[..., ir.Model]
HEAD = '<ir_version: 9, opset_import: ["": 18, "ai.onnx.ml": 3]>'


def computed(model: ir.Model, **feeds: np.ndarray) -> np.ndarray:
    return run(model, [feeds])[0]["y"]


def test_infinities_and_nan_are_only_moved(apply: Apply) -> None:
    source = f"""{HEAD} g (float[4] x, int64[2, 1] i, float[2] u) => (float[4] y) {{ y = ScatterND(x, i, u) }}"""
    after = apply("scatter-by-position", source)
    feeds = {"x": np.float32([np.nan, np.inf, -0.0, 1]), "i": np.array([[3], [-4]]), "u": np.float32([-np.inf, 2])}
    assert computed(after, **feeds).tobytes() == np.float32([2, np.inf, -0.0, -np.inf]).tobytes()


def test_a_sum_leaves_the_sign_of_zero_where_nothing_is_added(apply: Apply) -> None:
    source = f"""{HEAD} g (float[2] x, float[2] u) => (float[2] y) <int64[2, 1] i = {{1, 1}}>
        {{ y = ScatterND<reduction = "add">(x, i, u) }}"""
    after = apply("scatter-by-position", source)
    assert computed(after, x=np.float32([-0.0, 1]), u=np.float32([2, 3])).tobytes() == np.float32([-0.0, 6]).tobytes()


def test_too_many_pairs_to_compare_are_declined(apply: Apply) -> None:
    source = f"""{HEAD} g (float[4096, 2] x, int64[512, 1] i, float[512, 2] u) => (float[4096, 2] y)
        {{ y = ScatterND(x, i, u) }}"""
    assert [node.op_type for node in apply("scatter-by-position", source).graph] == ["ScatterND"]


@pytest.mark.parametrize(("kind", "inputs"), [("Unique", "x"), ("Compress", "x, c")])
def test_what_is_sized_by_values_stays(kind: str, inputs: str, apply: Apply) -> None:
    source = f"{HEAD} g (float[4] x, bool[4] c) => (float[n] y) {{ y = {kind}({inputs}) }}"
    assert [node.op_type for node in apply("gather-by-position", source).graph] == [kind]


def test_a_pipeline_of_classical_learning_becomes_operators_of_the_standard(apply: Apply) -> None:
    source = f"""{HEAD} g (float[5, 2] x) => (int64[5] y, float[5, 3] scores) {{
        s = ai.onnx.ml.Scaler<offset = [1.0, 2.0], scale = [0.5, 4.0]>(x)
        y, p = ai.onnx.ml.LinearClassifier<classlabels_ints = [3, 5, 9], intercepts = [0.1, 0.2, 0.3],
            coefficients = [1.0, -1.0, 0.5, 2.0, -3.0, 0.25], post_transform = "SOFTMAX">(s)
        scores = ai.onnx.ml.Normalizer<norm = "L1">(p) }}"""
    before = onnx.parser.parse_model(source)
    after = load(before)
    for name in ("decompose-features", "decompose-linear-models", "decompose-features"):
        after = apply(name, to_proto(after))
    assert not {node.domain for node in after.graph} - {""}
    x = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    expected, actual = run(load(before), [{"x": x}])[0], run(after, [{"x": x}])[0]
    assert (expected["y"] == actual["y"]).all()
    np.testing.assert_allclose(actual["scores"], expected["scores"], rtol=1e-5)
