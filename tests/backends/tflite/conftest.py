"""What the tests of the TFLite backend share: small ONNX models, and LiteRT's answer held against onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from graphopt_backends.tflite.compiler import prepare, with_shapes
from graphopt_backends.tflite.executor import open_file, run
from graphopt_backends.tflite.lowering import Lowered, lower

Arrays = Mapping[str, np.ndarray]
Build = Callable[..., onnx.ModelProto]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays,
    constants: Arrays | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
) -> onnx.ModelProto:
    """A model whose inputs have the shapes and types of the arrays in `inputs`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def lower_proto(model: onnx.ModelProto) -> Lowered:
    return lower(with_shapes(ir.from_proto(model)))


def answer(model: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """10·log₁₀(Σx² / Σ(x-y)²) in dB, 300 for no error."""
    signal, noise = np.square(expected, dtype="f8").sum(), np.square(expected.astype("f8") - found).sum()
    return 300.0 if noise == 0 else float(10 * np.log10(signal / noise)) if signal else -300.0


def check(model: onnx.ModelProto, inputs: Arrays) -> list[str]:
    """LiteRT answers as onnxruntime does; the builtins that do it."""
    lowered = lower_proto(model)
    assert lowered.content is not None, lowered.issues
    assert prepare(lowered.content, lowered.flat.operators) == []
    found = run(open_file(lowered.content), inputs)
    for name, expected in answer(model, inputs).items():
        assert found[name].shape == expected.shape
        assert found[name].dtype == expected.dtype
        if expected.dtype.kind == "f":
            assert decibels(expected, found[name]) >= 80, name
        else:
            np.testing.assert_array_equal(found[name], expected)
    return [operator.builtin for operator in lowered.flat.operators]


@pytest.fixture(scope="session")
def model() -> Build:
    return build


@pytest.fixture(scope="session")
def lowered() -> Callable[[onnx.ModelProto], Lowered]:
    """What the lowering makes of a model, in this process."""
    return lower_proto


@pytest.fixture(scope="session")
def reference() -> Callable[[onnx.ModelProto, Arrays], dict[str, np.ndarray]]:
    """onnxruntime's answer, without its own optimizations."""
    return answer


@pytest.fixture(scope="session")
def sqnr() -> Callable[[np.ndarray, np.ndarray], float]:
    """Signal to noise in dB."""
    return decibels


@pytest.fixture(scope="session")
def agrees() -> Callable[[onnx.ModelProto, Arrays], list[str]]:
    return check


@pytest.fixture(scope="session")
def one(model: Build) -> Callable[..., list[str]]:
    """`one("Relu", {"x": array}, attribute=…)`: the builtins of a one-node model that answers as onnxruntime does."""

    def test(
        op_type: str,
        inputs: Arrays,
        constants: Arrays | None = None,
        *,
        opset: int = 17,
        outputs: int = 1,
        **attributes: Any,
    ) -> list[str]:
        names = ["y", "z"][:outputs]
        operands = [*inputs, *(constants or {})]
        order = attributes.pop("order", operands)
        node = helper.make_node(op_type, order, names, name="it", **attributes)
        return check(model([node], inputs, constants, names, opset), inputs)

    return test


@pytest.fixture(scope="session")
def declined(model: Build) -> Callable[..., str]:
    """The reason for which the node of a one-node model is declined."""

    def test(
        op_type: str,
        inputs: Arrays,
        constants: Arrays | None = None,
        *,
        opset: int = 17,
        outputs: int = 1,
        **attributes: Any,
    ) -> str:
        names = ["y", "z"][:outputs]
        node = helper.make_node(op_type, [*inputs, *(constants or {})], names, name="it", **attributes)
        lowered = lower_proto(model([node], inputs, constants, names, opset))
        assert lowered.content is None
        assert [(issue.node, issue.op_type) for issue in lowered.issues] == [("it", op_type)]
        return lowered.issues[0].reason

    return test


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="session")
def floats() -> Callable[..., np.ndarray]:
    """Normal float32 numbers of a shape, the same for the same shape."""
    return normal
