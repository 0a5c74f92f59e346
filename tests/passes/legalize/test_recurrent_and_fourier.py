"""Recurrent layers written out step by step, and Fourier transforms as products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.ir import load, to_proto
from graphopt.verify import run

Apply = Callable[..., ir.Model]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(
    kind: str, steps: int, *, hidden: int = 4, bias: float = 0.0, weights: bool = False, lengths: bool = False,
    outputs: tuple[str, ...] = ("y",), scale: float = 0.3, **options: Any,
) -> onnx.ModelProto:  # fmt: skip
    """A layer over x of [steps, 2, 3]; its weights, or the lengths of its sequences, may be inputs of the graph."""
    rng, gates = np.random.default_rng(0), GATES[kind]
    held = {
        "w": rng.normal(0, scale, (1, gates * hidden, 3)).astype(np.float32),
        "r": rng.normal(0, scale, (1, gates * hidden, hidden)).astype(np.float32),
        "b": np.full((1, 2 * gates * hidden), bias / 2, np.float32),
    }
    shape = [2, steps, 3] if options.get("layout") else [steps, 2, 3]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    inputs += [helper.make_tensor_value_info("l", TensorProto.INT32, [2])] if lengths else []
    inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in held.items()] if weights else []
    node = helper.make_node(
        kind, ["x", "w", "r", "b", *(["l"] if lengths else [])], outputs, name="layer", hidden_size=hidden, **options
    )
    graph = helper.make_graph(
        [node], "g", inputs, [helper.make_empty_tensor_value_info(one) for one in outputs if one],
        [] if weights else [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def kinds(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def inputs(model: onnx.ModelProto, **given: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.input}
    return {name: given.get(name, rng.normal(0, 0.5, shape).astype(np.float32)) for name, shape in shapes.items()}


@pytest.mark.parametrize("kind", list(GATES))
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_sequences_end_where_a_runtime_length_says(kind: str, direction: str, apply: Apply) -> None:
    model = layer(kind, 5, lengths=True, outputs=("y", "h"), direction=direction)
    after = apply("unroll-recurrent", model)
    assert kind not in kinds(after)
    feeds = inputs(model, l=np.int32([5, 2]))
    expected, actual = run(load(model), [feeds])[0], run(after, [feeds])[0]
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, atol=1e-6)


@pytest.mark.parametrize("kind", list(GATES))
@pytest.mark.parametrize("name", ["unroll-recurrent", "unroll-recurrent-for-half"])
def test_weights_may_be_computed(kind: str, name: str, apply: Apply) -> None:
    model = layer(kind, 3, weights=True)
    after = apply(name, model)
    assert kind not in kinds(after)
    feeds = inputs(model)
    np.testing.assert_allclose(run(after, [feeds])[0]["y"], run(load(model), [feeds])[0]["y"], atol=1e-6)


def test_all_steps_share_their_weights_and_the_product_with_the_input(apply: Apply) -> None:
    after = apply("unroll-recurrent", layer("LSTM", 6))
    products = [node for node in after.graph if node.op_type == "MatMul"]
    assert len(products) == 1 + 5
    assert len({node.inputs[1] for node in products[1:]}) == 1


@pytest.mark.parametrize("kind", list(GATES))
def test_the_batch_may_come_first(kind: str, apply: Apply) -> None:
    model = layer(kind, 1, outputs=("y", "h"), layout=1)
    after = apply("decompose-recurrent", model)
    assert kinds(after)["Transpose"] == 3
    feeds = inputs(model)
    expected = ReferenceEvaluator(model).run(None, feeds)
    for array, actual in zip(expected, run(after, [feeds])[0].values(), strict=True):
        np.testing.assert_allclose(actual, array, atol=1e-6)


def test_an_output_without_a_name_gives_it_to_nobody(apply: Apply) -> None:
    after = apply("unroll-recurrent", layer("LSTM", 2, outputs=("", "h", "c")))
    assert all(value.name for node in after.graph for value in node.outputs)


def test_what_takes_too_many_steps_stays(apply: Apply) -> None:
    assert kinds(apply("unroll-recurrent", layer("RNN", 513))) == {"RNN": 1}
    assert kinds(apply("unroll-recurrent-for-half", layer("RNN", 9), steps=8)) == {"RNN": 1}


def in_half(model: ir.Model, x: np.ndarray) -> np.ndarray:
    """What a model computes when every number in it is float16."""
    proto = to_proto(model)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    found: Any = ReferenceEvaluator(proto).run(None, {"x": x.astype(np.float16)})
    return np.asarray(found[0], np.float64)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_form_for_half_keeps_what_a_gate_near_one_forgets(kind: str, apply: Apply) -> None:
    model = layer(kind, 100, bias=5.0)
    x = inputs(model)["x"].astype(np.float16).astype(np.float32)
    right = run(load(model), [{"x": x}])[0]["y"]
    plain, half = (
        np.abs(in_half(apply(name, model), x) - right)[-20:].mean()
        for name in ("unroll-recurrent", "unroll-recurrent-for-half")
    )
    assert half < plain / 1.5


def test_no_exponential_of_the_form_for_half_leaves_what_the_htp_gets_right(apply: Apply) -> None:
    after = apply("unroll-recurrent-for-half", layer("LSTM", 3, scale=500.0))
    proto = to_proto(after)
    made = [node.output[0] for node in proto.graph.node if node.op_type == "Exp"]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(one) for one in made)
    found = ReferenceEvaluator(proto).run(made, {"x": np.full((3, 2, 3), 1.0, np.float32)})
    assert len(made) == 2
    assert all(np.all((one > 1e-9) & (one < 1e9)) for one in found)


def transform(x: np.ndarray, length: int | None, apply: Apply, **options: int) -> np.ndarray:
    """What the decomposed DFT makes of the first axis of x, [N, 1 or 2]."""
    given = ["x", "length" if length else "", "axis"]
    graph = helper.make_graph(
        [helper.make_node("DFT", given, ["y"], name="dft", **options)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)], [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.array(length or 0), "length"), numpy_helper.from_array(np.array(0), "axis")],
    )  # fmt: skip
    graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    after = apply("decompose-dft", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8))
    assert "DFT" not in kinds(after)
    return np.asarray(run(after, [{"x": x.astype(np.float32)}])[0]["y"])


@pytest.mark.parametrize("length", [None, 5, 8, 13])
def test_a_transform_is_that_of_numpy(length: int | None, apply: Apply) -> None:
    x = np.random.default_rng(2).normal(size=(8, 2))
    z = x[:, 0] + 1j * x[:, 1]
    for options, right in [
        ({}, np.fft.fft(z, length)),
        ({"inverse": 1}, np.fft.ifft(z, length)),
    ]:
        found = transform(x, length, apply, **options)
        np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], right, atol=1e-5)
    found = transform(x[:, :1], length, apply, onesided=1)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], np.fft.rfft(x[:, 0], length), atol=1e-5)


@pytest.mark.parametrize("length", [None, 9, 12, 20])
def test_half_a_spectrum_goes_back_to_a_real_signal(length: int | None, apply: Apply) -> None:
    x = np.random.default_rng(3).normal(size=(7, 2))
    found = transform(x, length, apply, onesided=1, inverse=1)
    np.testing.assert_allclose(found[:, 0], np.fft.irfft(x[:, 0] + 1j * x[:, 1], length), atol=1e-5)


def test_a_transform_along_a_runtime_axis_stays(apply: Apply) -> None:
    source = """<ir_version: 9, opset_import: ["": 20]> g (float[4, 5, 1] x, int64 axis) => (float[a, b, 2] y)
        { y = DFT(x, , axis) }"""
    assert kinds(apply("decompose-dft", source)) == {"DFT": 1}
