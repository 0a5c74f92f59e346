"""What static quantization writes, and that it is close to the float model and legal for its scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.ir import infer_shapes
from graphopt.pipeline import make_backend
from graphopt.quantize.insert import Inserted
from graphopt.quantize.plan import Plan
from graphopt.quantize.ranges import Method
from graphopt.quantize.scheme import Scheme, scheme_of
from graphopt.quantize.static import Static, _best, _Candidate, quantize_static
from graphopt.quantize.validate import validate
from graphopt.verify import run

Build = Callable[..., ir.Model]
RNG = np.random.default_rng(0)
SAMPLES = [{"x": RNG.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]


def weights(*shape: int) -> np.ndarray:
    made = np.random.default_rng(shape[0]).normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return made.astype(np.float32)


def network(build: Build, opset: int = 21) -> ir.Model:
    """Conv+Relu, a residual Add, a Concat with a Sigmoid, MaxPool and a Gemm: every kind of operator there is."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r1"], ["sum"], name="add"),
        node("Sigmoid", ["sum"], ["s"], name="sigmoid"),
        node("Concat", ["sum", "s"], ["joined"], name="concat", axis=1),
        node("MaxPool", ["joined"], ["pooled"], name="pool", kernel_shape=[4, 4], strides=[4, 4]),
        node("Flatten", ["pooled"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "w3", "b3"], ["y"], name="gemm", transB=1),
    ]
    held = {
        "w1": weights(16, 3, 3, 3), "b1": weights(16), "w2": weights(16, 16, 3, 3), "b2": weights(16),
        "w3": weights(32, 512), "b3": weights(32),
    }  # fmt: skip
    return build(nodes, held, {"x": [1, 3, 16, 16]}, ["y"], opset)


def quantized(model: ir.Model, scheme: Scheme, **options: object) -> Static:
    infer_shapes(model)
    done = quantize_static(model, scheme, lambda: SAMPLES, **options)  # type: ignore[arg-type]
    assert done is not None
    return done


def sqnr(expected: ir.Model, actual: ir.Model) -> float:
    left = np.concatenate([out["y"].ravel() for out in run(expected, SAMPLES)])
    right = np.concatenate([out["y"].ravel() for out in run(actual, SAMPLES)])
    return float(10 * np.log10(np.square(left).sum() / np.square(left - right).sum()))


def count(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def maker(model: ir.Model, name: str, place: int) -> ir.Node:
    node = next(node for node in model.graph if node.name == name)
    found = node.inputs[place].producer()  # type: ignore[union-attr]
    assert found is not None
    return found


def array(value: ir.Value | None) -> np.ndarray:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


@pytest.mark.parametrize("backend", ["tflite", "snpe", "tensorrt", None])
@pytest.mark.parametrize("name", ["w8a8", "w8a16"])
def test_each_scheme_makes_a_legal_graph_that_is_close(build: Build, backend: str | None, name: str) -> None:
    if (backend, name) == ("tensorrt", "w8a16"):
        pytest.skip("TensorRT has no 16-bit integers")
    model = network(build)
    scheme = scheme_of(name, None if backend is None else make_backend(backend))
    quantized(model, scheme)
    assert validate(model, scheme) == []
    assert sqnr(network(build), model) > (30 if name == "w8a8" else 38)


def test_all_stands_between_conversions_and_the_clamp_that_they_imply_is_gone(build: Build) -> None:
    model = network(build)
    done = quantized(model, scheme_of("w8a8", make_backend("tflite")))
    assert count(model)["Relu"] == 0
    assert done.done.clamps == 1
    assert {unit.node.op_type for unit in done.plan.units} == {
        "Conv", "Add", "Sigmoid", "Concat", "MaxPool", "Flatten", "Gemm"
    }  # fmt: skip
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_a_relu_stays_where_codes_are_symmetric(build: Build) -> None:
    model = network(build)
    quantized(model, scheme_of("w8a16", make_backend("tflite")))
    assert count(model)["Relu"] == 1


def test_weights_are_symmetric_narrow_and_have_a_scale_for_each_channel(build: Build) -> None:
    model = network(build)
    quantized(model, scheme_of("w8a8", make_backend("tflite")))
    held = maker(model, "conv1", 1)
    codes, scale = array(held.inputs[0]), array(held.inputs[1])
    assert codes.dtype == np.int8
    assert codes.min() >= -127
    assert np.abs(codes).reshape(16, -1).max(1).tolist() == [127] * 16
    assert (scale.shape, held.attributes.get_int("axis", 9)) == ((16,), 0)


def test_the_scale_of_a_bias_is_the_product_of_those_of_data_and_weights(build: Build) -> None:
    model = network(build)
    quantized(model, scheme_of("w8a8", make_backend("tflite")))
    data, weight, bias = (maker(model, "conv2", place) for place in range(3))
    assert array(bias.inputs[0]).dtype == np.int32
    np.testing.assert_allclose(array(bias.inputs[1]), array(data.inputs[1]) * array(weight.inputs[1]), rtol=1e-6)


def test_a_bias_too_large_for_its_scale_widens_that_of_the_weights(build: Build) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv")
    tiny = weights(4, 3, 1, 1)
    tiny[2] *= 1e-9
    bias = np.array([0.1, 0.2, 50.0, 0.3], np.float32)
    model = build([node], {"w": tiny, "b": bias}, {"x": [1, 3, 16, 16]}, ["y"])
    reference = build([node], {"w": tiny, "b": bias}, {"x": [1, 3, 16, 16]}, ["y"])
    done = quantized(model, scheme_of("w8a8", make_backend("tflite")), correct=False, rounding=False)
    assert done.raised == 1
    assert sqnr(reference, model) > 35


def test_operands_that_meet_share_a_scale_and_a_prescribed_one_is_rounded_again(build: Build) -> None:
    model = network(build)
    quantized(model, scheme_of("w8a8", make_backend("tflite")))
    joined, sigmoid = maker(model, "concat", 0), maker(model, "concat", 1)
    assert array(joined.inputs[1]) == array(sigmoid.inputs[1])
    before = sigmoid.inputs[0].producer().inputs[0].producer()  # type: ignore[union-attr]
    assert before is not None
    assert array(before.inputs[1]) == np.float32(1 / 256)
    assert array(before.inputs[2]) == -128


def test_tensorrt_gets_codes_on_inputs_alone_and_on_the_residual_branch(build: Build) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Conv", ["c1", "w2", "b2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "c1"], ["y"], name="add"),
    ]
    held = {"w1": weights(16, 3, 3, 3), "b1": weights(16), "w2": weights(16, 16, 3, 3), "b2": weights(16)}
    model = build(nodes, held, {"x": [1, 3, 16, 16]}, ["y"])
    quantized(model, scheme_of("w8a8", make_backend("tensorrt")))
    assert maker(model, "add", 0).op_type == "Conv"
    assert maker(model, "add", 1).op_type == "DequantizeLinear"
    assert count(model)["QuantizeLinear"] == 1  # conv1 reads 3 channels, for which codes do not pay
    assert not array(maker(model, "conv2", 0).inputs[2]).any()


def test_a_value_that_is_nan_or_infinite_stays_in_float(build: Build) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        node("Div", ["c", "zero"], ["d"], name="divide"),
        node("Conv", ["d", "v", "b"], ["e"], name="after"),
        node("IsNaN", ["e"], ["y"], name="nan"),
    ]
    held = {
        "w": weights(4, 3, 1, 1), "v": weights(4, 4, 1, 1), "b": weights(4), "zero": np.zeros((), np.float32)
    }  # fmt: skip
    model = build(nodes, held, {"x": [1, 3, 16, 16]}, ["y"])
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
    done = quantized(model, scheme_of("w8a8", make_backend("tflite")))
    assert [unit.node.name for unit in done.plan.units] == ["conv"]


def test_a_normalization_stays_in_float_between_layers(build: Build) -> None:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], name="first"),
        node("ReduceMean", ["a"], ["m"], name="mean", axes=[-1]),
        node("Sub", ["a", "m"], ["d"], name="center"),
        node("Mul", ["d", "d"], ["q"], name="square"),
        node("ReduceMean", ["q"], ["v"], name="variance", axes=[-1]),
        node("Sqrt", ["v"], ["r"], name="root"),
        node("Div", ["d", "r"], ["n"], name="divide"),
        node("MatMul", ["n", "w2"], ["y"], name="second"),
    ]
    held = {"w1": weights(16, 16), "w2": weights(16, 16)}
    model = build(nodes, held, {"x": [1, 3, 16, 16]}, ["y"])
    done = quantized(model, scheme_of("w8a8", make_backend("tflite")))
    assert [unit.node.name for unit in done.plan.units] == ["first", "second"]


def test_the_same_samples_give_the_same_model(build: Build) -> None:
    made = []
    for _ in range(2):
        model = network(build)
        quantized(model, scheme_of("w8a8", make_backend("tflite")))
        made.append(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    assert made[0] == made[1]


def test_the_validator_finds_each_break_of_the_scheme(build: Build) -> None:
    scheme = scheme_of("w8a8", make_backend("tflite"))

    def broken(name: str, place: int, parameter: int, value: np.ndarray) -> list[str]:
        model = network(build)
        quantized(model, scheme, correct=False, rounding=False)
        node = maker(model, name, place)
        fresh = ir.Value(name="broken", const_value=ir.Tensor(value))
        fresh.type, fresh.shape = ir.TensorType(ir.DataType.from_numpy(value.dtype)), ir.Shape(value.shape)
        model.graph.register_initializer(fresh)
        node.replace_input_with(parameter, fresh)
        return [f"{finding.op_type}: {finding.reason}" for finding in validate(model, scheme)]

    assert any("product of those" in one for one in broken("conv1", 2, 1, np.full(16, 0.5, np.float32)))
    assert any("symmetric" in one for one in broken("conv1", 1, 2, np.full(16, 3, np.int8)))
    assert any("keeps the scale" in one for one in broken("pool", 0, 1, np.float32(0.7)))  # type: ignore[arg-type]
    assert any("one differs" in one for one in broken("concat", 1, 1, np.float32(0.7)))  # type: ignore[arg-type]
    assert any("positive" in one for one in broken("conv2", 0, 1, np.float32(0)))  # type: ignore[arg-type]


def candidate(method: Method, decibels: list[float]) -> _Candidate:
    empty = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 21}), ir_version=10)
    return _Candidate(method, empty, Static(Plan([]), Inserted(), {}, method), np.array(decibels))


@pytest.mark.parametrize(
    ("decibels", "taken"),
    [([30, 30, 30, 36], "mse"), ([34, 33.9, 34.1, 34], "percentile"), ([20, 20, 20, 20], "mse")],
)
def test_percentiles_are_taken_where_they_are_clearly_ahead(decibels: list[float], taken: str) -> None:
    others = [candidate("minmax", [25, 25, 25, 25]), candidate("mse", [30, 30.1, 29.9, 30])]
    assert _best([candidate("percentile", decibels), *others]).step == taken


def test_every_conversion_has_a_zero_point_since_not_every_compiler_goes_without(build: Build) -> None:
    model = network(build)
    quantized(model, scheme_of("w8a8", make_backend("tflite")))
    kinds = ("QuantizeLinear", "DequantizeLinear")
    assert all(len(node.inputs) == 3 for node in model.graph if node.op_type in kinds)
