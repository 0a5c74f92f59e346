"""Weights alone, half precision, dynamic ranges, and models that are quantized already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.calibrate import collect
from graphopt.ir import infer_shapes
from graphopt.quantize.dynamic import quantize_dynamic
from graphopt.quantize.existing import unquantize
from graphopt.quantize.halves import store_bfloat16, to_half
from graphopt.quantize.scheme import neutral
from graphopt.quantize.static import quantize_static
from graphopt.quantize.weight_only import quantize_weights
from graphopt.verify import run

Build = Callable[..., ir.Model]
SAMPLES = [{"x": np.random.default_rng(i).normal(size=(4, 64)).astype(np.float32)} for i in range(3)]


def network(build: Build, scale: float = 1.0, epsilon: float = 1e-3) -> ir.Model:
    rng = np.random.default_rng(7)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], name="first", transB=1),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Mul", ["r", "scale"], ["m"], name="scaled"),
        helper.make_node("Add", ["m", "epsilon"], ["e"], name="lifted"),
        helper.make_node("MatMul", ["e", "w2"], ["y"], name="second"),
    ]
    held = {
        "w1": rng.normal(size=(64, 64)).astype(np.float32) / 8, "b1": rng.normal(size=64).astype(np.float32),
        "w2": rng.normal(size=(64, 32)).astype(np.float32) / 8, "scale": np.float32(scale),
        "epsilon": np.array(epsilon, np.float32),
    }  # fmt: skip
    model = build(nodes, {k: np.asarray(v) for k, v in held.items()}, {"x": [4, 64]}, ["y"], 21)
    infer_shapes(model)
    return model


def sqnr(expected: ir.Model, actual: ir.Model) -> float:
    left, right = (np.concatenate([out["y"].ravel() for out in run(one, SAMPLES)]) for one in (expected, actual))
    return float(10 * np.log10(np.square(left).sum() / np.square(left - right).sum()))


def count(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize(("name", "least", "size"), [("w8", 38, 0.3), ("w4", 16, 0.2)])
def test_weights_alone_become_small_and_stay_close(build: Build, name: str, least: float, size: float) -> None:
    model = network(build)
    done = quantize_weights(model, neutral()[name])
    assert done.weights == 2
    assert done.after < size * done.before
    assert sqnr(network(build), model) > least


def test_w4_has_a_scale_for_each_block_of_the_reduced_axis(build: Build) -> None:
    model = network(build)
    quantize_weights(model, neutral()["w4"])
    held = [node for node in model.graph if node.op_type == "DequantizeLinear"]
    told = {(n.attributes.get_int("axis", 9), n.attributes.get_int("block_size", 0)) for n in held}
    assert told == {(1, 32), (0, 32)}
    assert {str(node.inputs[0].dtype) for node in held} == {"INT4"}  # type: ignore[union-attr]


def test_half_precision_keeps_the_signature_and_writes_no_casts_that_undo_each_other(build: Build) -> None:
    model = network(build)
    done = to_half(model, collect(model, ["a", "r", "m", "e", "y"], SAMPLES))
    assert (done.nodes, done.kept) == (5, ())
    assert count(model)["Cast"] == 2
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [ir.DataType.FLOAT] * 2
    assert sqnr(network(build), model) > 55


def test_what_half_precision_cannot_hold_stays_in_float(build: Build) -> None:
    model = network(build, scale=1e5, epsilon=1e-12)
    names = [value.name or "" for node in model.graph for value in node.outputs]
    done = to_half(model, collect(model, names, SAMPLES))
    assert set(done.kept) == {"scaled", "lifted", "second"}
    assert sqnr(network(build, scale=1e5, epsilon=1e-12), model) > 55


def test_bfloat16_stores_weights_in_half_the_bytes(build: Build) -> None:
    model = network(build)
    assert store_bfloat16(model) == 2
    assert sqnr(network(build), model) > 40


def test_dynamic_ranges_need_no_samples(build: Build) -> None:
    model = network(build)
    assert quantize_dynamic(model, neutral()["dynamic"]) == 2
    assert count(model)["MatMulInteger"] == 2
    assert sqnr(network(build), model) > 30


def test_a_quantized_model_becomes_one_of_floats_with_the_ranges_it_had(build: Build) -> None:
    model = network(build)
    scheme = neutral()["w8a8"]
    quantize_static(model, scheme, lambda: SAMPLES)
    before = [out["y"] for out in run(model, SAMPLES)]
    ranges = unquantize(model, "test")
    infer_shapes(model)
    assert not count(model).keys() & {"QuantizeLinear", "DequantizeLinear"}
    assert ranges["x"][0] < 0 < ranges["x"][1]
    floats = [out["y"] for out in run(model, SAMPLES)]
    np.testing.assert_allclose(np.concatenate(floats), np.concatenate(before), atol=0.1)
    again = quantize_static(model, scheme, lambda: SAMPLES, known=ranges, correct=False, rounding=False)
    assert again is not None
    np.testing.assert_allclose(
        np.concatenate([out["y"] for out in run(model, SAMPLES)]), np.concatenate(before), atol=0.1
    )
