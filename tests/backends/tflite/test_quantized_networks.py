"""Networks that onnxruntime's quantizer calibrated: LiteRT's integers are as close to float32 as onnxruntime's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from graphopt import optimize
from graphopt_backends.tflite.compiler import prepare
from graphopt_backends.tflite.executor import open_file, run

SHAPES = {"residual": (1, 3, 16, 16), "mobile": (1, 3, 16, 16), "attention": (1, 12, 16)}
INTEGER = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX", "LOGISTIC", "CONCATENATION"}


def _node(op_type: str, inputs: str, output: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def _residual(random):
    nodes = [
        _node("Conv", "x w1 b1", "c1", pads=[1] * 4),
        _node("Relu", "c1", "r1"),
        _node("Conv", "r1 w2 b2", "c2", pads=[1] * 4),
        _node("Add", "c2 r1", "sum"),
        _node("Relu", "sum", "r2"),
        _node("MaxPool", "r2", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        _node("GlobalAveragePool", "pool", "mean"),
        _node("Flatten", "mean", "flat"),
        _node("Gemm", "flat w3 b3", "y", transB=1),
    ]
    return nodes, {
        "w1": random(8, 3, 3, 3) / 3, "b1": random(8), "w2": random(8, 8, 3, 3) / 5, "b2": random(8),
        "w3": random(5, 8), "b3": random(5),
    }  # fmt: skip


def _mobile(random):
    nodes = [
        _node("Conv", "x w1 b1", "c1", pads=[1] * 4, strides=[2, 2]),
        _node("Clip", "c1 zero six", "r1"),
        _node("Conv", "r1 w2 b1", "c2", pads=[1] * 4, group=8),
        _node("Conv", "r1 w3 b1", "c3"),
        _node("Concat", "c2 c3", "both", axis=1),
        _node("Sigmoid", "both", "gate"),
        _node("Mul", "both gate", "swish"),
        _node("AveragePool", "swish", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        _node("Reshape", "pool shape", "flat"),
        _node("MatMul", "flat w4", "scores"),
        _node("Softmax", "scores", "y", axis=-1),
    ]
    return nodes, {
        "w1": random(8, 3, 3, 3) / 3, "b1": random(8), "zero": np.float32(0), "six": np.float32(6),
        "w2": random(8, 1, 3, 3) / 2, "w3": random(8, 8, 1, 1) / 4, "w4": random(256, 10) / 16,
        "shape": np.asarray([1, 256]),
    }  # fmt: skip


def _attention(random):
    nodes = [
        _node("MatMul", "x wq", "q"),
        _node("MatMul", "x wk", "k"),
        _node("MatMul", "x wv", "v"),
        _node("Transpose", "k", "kt", perm=[0, 2, 1]),
        _node("MatMul", "q kt", "scores"),
        _node("Mul", "scores quarter", "scaled"),
        _node("Softmax", "scaled", "weights", axis=-1),
        _node("MatMul", "weights v", "mixed"),
        _node("Add", "mixed x", "sum"),
        _node("LayerNormalization", "sum gamma beta", "y"),
    ]
    return nodes, {
        **{name: random(16, 16) / 4 for name in ("wq", "wk", "wv")}, "quarter": np.float32(0.25),
        "gamma": random(16), "beta": random(16),
    }  # fmt: skip


class _Samples(CalibrationDataReader):
    def __init__(self, samples: list[dict[str, np.ndarray]]) -> None:
        self._rest: Iterator[dict[str, np.ndarray]] = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


@pytest.mark.parametrize("activation", ["QUInt8", "QInt8", "QInt16"])
@pytest.mark.parametrize("network", [_residual, _mobile, _attention])
def test_a_calibrated_network(network, activation, model, lowered, reference, sqnr, tmp_path: Path):
    generator = np.random.default_rng(11)

    def random(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    shape = SHAPES[network.__name__[1:]]
    nodes, constants = network(random)
    plain = model(nodes, {"x": random(*shape)}, constants, opset=21 if activation == "QInt16" else 17)
    onnx.save(plain, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "qdq.onnx", _Samples([{"x": random(*shape)} for _ in range(8)]),
        quant_format=QuantFormat.QDQ, activation_type=QuantType[activation], weight_type=QuantType.QInt8,
        per_channel=activation != "QUInt8", extra_options={"ActivationSymmetric": activation == "QInt16"},
    )  # fmt: skip
    made = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "qdq.onnx"), data_prop=True)
    written = lowered(made)
    assert written.content is not None, written.issues
    assert prepare(written.content, written.flat.operators) == []
    samples, interpreter = [{"x": random(*shape)} for _ in range(24)], open_file(written.content)
    exact, theirs = (np.stack([reference(one, sample)["y"] for sample in samples]) for one in (plain, made))
    mine = np.stack([run(interpreter, sample)["y"] for sample in samples])
    assert sqnr(exact, mine) >= sqnr(exact, theirs) - 1
    for operator in written.flat.operators:
        if operator.builtin in INTEGER:
            assert written.flat.tensors[operator.outputs[0]].quantization is not None, operator.builtin


@pytest.mark.parametrize("network", [_residual, _mobile])
def test_a_quantized_model_of_the_users_is_deployed_in_integers_and_agrees_to_a_code(network, model, tmp_path: Path):
    generator = np.random.default_rng(5)

    def random(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    shape = SHAPES[network.__name__[1:]]
    nodes, constants = network(random)
    onnx.save(model(nodes, {"x": random(*shape)}, constants, opset=17), tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "qdq.onnx", _Samples([{"x": random(*shape)} for _ in range(8)]),
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    report = optimize(tmp_path / "qdq.onnx", backend="tflite", artifact=tmp_path / "m.tflite").report
    assert report.status == "ok", report.reason
    assert report.compile.execution.status == "passed"
    assert report.compile.detail["operators"]["CONV_2D"] >= 1
    assert report.compile.detail["operators"]["QUANTIZE"] <= 2
