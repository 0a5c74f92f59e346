"""Quantized numbers and products written out: what the rules' own examples do not reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.ir import to_proto
from graphopt.ir.edit import constant

Apply = Callable[..., ir.Model]


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: dict[str, int], opset: int,
    constants: list[onnx.TensorProto] | None = None, domain: str = "",
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        constants or [],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def operators(made: ir.Model) -> list[str]:
    return [node.op_type for node in made.graph if node.op_type != "Constant"]


@pytest.mark.parametrize("opset", [10, 11, 13])
def test_halves_are_rounded_to_the_even_neighbor(apply: Apply, opset: int) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 300, -300], np.float32)
    constants = [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.int8(3), "zero")]
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    made = apply("decompose-quantize", model([node], {"x": [8]}, {"y": TensorProto.INT8}, opset, constants))
    assert "QuantizeLinear" not in operators(made)
    (y,) = ReferenceEvaluator(to_proto(made)).run(None, {"x": x})
    np.testing.assert_array_equal(y, [3, 5, 5, 3, 1, 3, 127, -128])


def test_blocks_of_four_bits_become_one_constant(apply: Apply) -> None:
    numbers = helper.make_tensor("w", TensorProto.INT4, [2, 5], [-8, 7, 1, 2, 3, 4, 5, 6, 7, -1])
    scale = numpy_helper.from_array(np.array([[1, 2, 4], [0.5, 1, 2]], np.float32), "scale")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["real"], axis=1, block_size=2),
        helper.make_node("Add", ["x", "real"], ["y"]),
    ]
    made = apply("decompose-quantize", model(nodes, {"x": [2, 5]}, {"y": TensorProto.FLOAT}, 21, [numbers, scale]))
    tensor = constant(made.graph.outputs[0].producer().inputs[1].producer().inputs[0])
    np.testing.assert_array_equal(tensor.numpy(), [[-8, 7, 2, 4, 12], [2, 2.5, 6, 7, -2]])


def test_what_was_quantized_just_before_is_dequantized_without_integers(apply: Apply) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    proto = model(nodes, {"x": [3, 4]}, {"y": TensorProto.FLOAT}, 17)
    made = apply("decompose-quantize", to_proto(apply("decompose-dynamic-quantize", proto)))
    reads = [node.inputs[0].producer() for node in made.graph if node.op_type in ("Mul", "Sub")]
    assert all(maker is None or maker.op_type != "Cast" for maker in reads)


def test_integer_products_that_are_scaled_take_the_scales_before(apply: Apply) -> None:
    constants = [numpy_helper.from_array(np.ones((4, 2), np.int8), "w"), numpy_helper.from_array(np.float32(0.1), "s")]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["product"]),
        helper.make_node("Cast", ["product"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "s"], ["both"]),
        helper.make_node("Mul", ["cast", "both"], ["y"]),
    ]
    made = apply("qdq-form", model(nodes, {"x": [3, 4]}, {"y": TensorProto.FLOAT}, 17, constants))
    assert operators(made).count("MatMul") == 1
    assert "MatMulInteger" not in operators(made)


def test_a_chain_of_quantized_operators_becomes_pairs(apply: Apply) -> None:
    constants = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.uint8(9), "z")]
    one = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *one], ["q"]),
        helper.make_node("QLinearSigmoid", ["q", *one, *one], ["a"], domain="com.microsoft"),
        helper.make_node("Transpose", ["a"], ["t"], perm=[1, 0]),
        helper.make_node("QLinearLeakyRelu", ["t", *one, *one], ["b"], domain="com.microsoft", alpha=0.2),
        helper.make_node("DequantizeLinear", ["b", *one], ["y"]),
    ]
    made = apply("qdq-form", model(nodes, {"x": [3, 4]}, {"y": TensorProto.FLOAT}, 17, constants, "com.microsoft"))
    between = [op for op in operators(made) if not op.endswith("uantizeLinear")]
    assert between == ["Sigmoid", "Transpose", "LeakyRelu"]
    assert all(
        use.node.op_type == "DequantizeLinear"
        for node in made.graph if node.op_type == "QuantizeLinear"
        for use in node.outputs[0].uses()
    )  # fmt: skip


def test_an_einsum_takes_the_cheapest_pair_first(apply: Apply) -> None:
    node = helper.make_node("Einsum", ["a", "b", "c"], ["y"], equation="ij,jk,k->i")
    shapes = {"a": [64, 32], "b": [32, 48], "c": [48]}
    made = apply("decompose-einsum", model([node], shapes, {"y": TensorProto.FLOAT}, 17))
    first = next(node for node in made.graph if node.op_type == "MatMul")
    above = {value.name for one in first.inputs for value in (one, *(one.producer().inputs if one.producer() else []))}
    assert {"b", "c"} <= above
    assert "a" not in above


def test_a_mask_that_is_shorter_than_the_keys_shuts_the_others_out(apply: Apply) -> None:
    shapes = {"q": [1, 1, 2, 4], "k": [1, 1, 5, 4], "v": [1, 1, 5, 4], "mask": [2, 3]}
    constants = [numpy_helper.from_array(np.array([5], np.int64), "lengths")]
    node = helper.make_node("Attention", ["q", "k", "v", "mask", "", "", "lengths"], ["y"])
    made = apply("decompose-attention", model([node], shapes, {"y": TensorProto.FLOAT}, 24, constants))
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    (y,) = ReferenceEvaluator(to_proto(made)).run(None, feeds)
    scores = feeds["q"][0, 0] @ feeds["k"][0, 0, :3].T / 2 + feeds["mask"]
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(y[0, 0], weights @ feeds["v"][0, 0, :3], rtol=1e-4, atol=1e-5)
