"""The pass `quantize` as a run applies it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.api import Data, Result, default_recipe, optimize
from graphopt.errors import UserError
from graphopt.pipeline import make_backend
from graphopt.pipeline.recipe import from_specs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution with a batch normalization, a Relu and a classifier, of opset 12 and with a free batch."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))

    weights = {
        "w": some(16, 3, 3, 3), "gamma": np.ones(16, np.float32), "beta": some(16), "mean": some(16),
        "var": np.full(16, 0.5, np.float32), "v": some(16, 10), "c": some(10),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"], name="bn"),
            helper.make_node("Relu", ["b"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
            helper.make_node("Gemm", ["f", "v", "c"], ["g"], name="gemm"),
            helper.make_node("Softmax", ["g"], ["y"], name="softmax", axis=1),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7), path)
    return path


@pytest.fixture(scope="module")
def samples(model: Path) -> Path:
    """Eight samples beside the model."""
    path = model.parent / "samples.npy"
    np.save(path, np.random.default_rng(1).normal(size=(8, 3, 16, 16)).astype(np.float32))
    return path


def quantized(
    model: Path, spec: str, samples: Path | None, backend: str | None = None, dims: dict[str, int] | None = None
) -> Result:
    target = None if backend is None else make_backend(backend)
    return optimize(
        model, backend=target, recipe=default_recipe(target) + from_specs([spec]), compile=False,
        dims={"batch": 1} if dims is None else dims,
        calibration=None if samples is None else Data(samples),
    )  # fmt: skip


def record(result: Result) -> tuple[str, str]:
    found = next(one for one in result.report.passes if one.name == "quantize")
    return found.outcome, found.detail


@pytest.mark.parametrize("scheme", ["w8a8", "w8a16", "w8", "w4", "fp16", "bf16", "dynamic"])
def test_every_scheme_applies_to_an_old_opset_and_passes_verification(model: Path, samples: Path, scheme: str) -> None:
    result = quantized(model, f"quantize:scheme={scheme}", samples)
    assert record(result)[0] == "applied"
    assert result.report.verification.status == "passed"
    assert result.report.verification.outputs[0].sqnr_db > 15
    assert [value.name for value in result.model.graph.outputs] == ["y"]


@pytest.mark.parametrize("backend", ["tflite", "snpe", "tensorrt"])
def test_a_legalized_graph_is_quantized_without_breaks_of_the_scheme(model: Path, samples: Path, backend: str) -> None:
    result = quantized(model, "quantize", samples, backend)
    outcome, detail = record(result)
    assert outcome == "applied"
    assert "breaks" not in detail


def test_without_samples_it_says_that_ranges_are_those_of_noise(model: Path) -> None:
    assert "--calibration" in record(quantized(model, "quantize", None))[1]


def test_an_excluded_operator_keeps_its_weights(model: Path, samples: Path) -> None:
    result = quantized(model, "quantize:exclude=Gemm", samples)
    gemm = next(node for node in result.model.graph if node.op_type == "Gemm")
    assert gemm.inputs[1].is_initializer()  # type: ignore[union-attr]


def test_a_budget_leaves_in_float_what_it_needs(model: Path, samples: Path) -> None:
    small = quantized(model, "quantize:budget=size=1KB", samples)
    exact = quantized(model, "quantize:budget=min-sqnr=200", samples)
    assert "0 of 2 layers in float" in record(small)[1]
    assert "2 of 2 layers in float" in record(exact)[1]
    assert exact.report.verification.outputs[0].sqnr_db > small.report.verification.outputs[0].sqnr_db


def test_a_budget_that_nothing_keeps_is_refused_with_what_can_be_kept(model: Path, samples: Path) -> None:
    with pytest.raises(UserError, match="at least"):
        quantized(model, "quantize:budget=size=10", samples)


def test_the_ladder_says_what_each_combination_of_methods_reached(model: Path, samples: Path) -> None:
    found = next(one for one in quantized(model, "quantize", samples).report.passes if one.name == "quantize")
    ladder = found.metrics["ladder"]
    assert {"minmax", "mse", "minmax + rounding"} <= set(ladder)
    assert any("bias correction" in step for step in ladder)
    assert f"{max(v for k, v in ladder.items() if k in found.detail):.1f} dB" in found.detail


def test_what_is_to_be_excluded_must_exist(model: Path, samples: Path) -> None:
    with pytest.raises(UserError, match="no node and no operator"):
        quantized(model, "quantize:exclude=nothing", samples)


def test_a_scheme_that_the_backend_lacks_is_named_with_those_it_has(model: Path, samples: Path) -> None:
    with pytest.raises(UserError, match=r"tensorrt has no scheme 'w8a16': choose from .*w8a8"):
        quantized(model, "quantize:scheme=w8a16", samples, "tensorrt")


def test_a_quantized_model_is_quantized_again_for_another_backend(model: Path, samples: Path, tmp_path: Path) -> None:
    import onnx_ir as ir

    once = quantized(model, "quantize", samples)
    ir.save(once.model, tmp_path / "once.onnx")
    again = quantized(tmp_path / "once.onnx", "quantize:scheme=w8a16", samples, "snpe", {})
    outcome, detail = record(again)
    assert outcome == "applied"
    assert "breaks" not in detail
    kinds = {str(node.inputs[2].dtype) for node in again.model.graph if node.op_type == "QuantizeLinear"}  # type: ignore[union-attr]
    assert kinds == {"UINT16"}
    assert again.report.verification.outputs[0].sqnr_db > 25


def test_a_model_of_integer_operators_stays_as_it_is_and_the_report_says_why(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    import onnx_ir as ir

    once = quantized(model, "quantize:scheme=dynamic", samples)
    ir.save(once.model, tmp_path / "dynamic.onnx")
    outcome, detail = record(quantized(tmp_path / "dynamic.onnx", "quantize", samples, dims={}))
    assert outcome != "failed"
    assert "quantized already" in detail or outcome == "applied"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), "shape"),
        (np.zeros((1, 3, 16, 16), np.int64), "type"),
        (np.full((1, 3, 16, 16), np.nan, np.float32), "NaN"),
        (np.zeros((0, 3, 16, 16), np.float32), "empty"),
    ],
)
def test_wrong_samples_are_refused_in_one_sentence(model: Path, tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(UserError, match=words):
        quantized(model, "quantize", tmp_path / "bad.npy")
