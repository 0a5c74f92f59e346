"""Bias correction takes the mean error away, layer after layer, in integer and float biases, and adds missing ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.calibrate import layers_of, moments
from graphopt.quantize.methods.bias import analytic_shift, correct_biases
from graphopt.verify import run

STEP = np.float32(0.25)


def _nodes(coded: bool, bias: str) -> list[object]:
    """Two convolutions and a linear layer, float or with coarse weights behind DequantizeLinear."""
    nodes, read = [], "x"
    for number in (1, 2):
        w, b = f"w{number}", f"b{number}"
        if coded:
            nodes.append(helper.make_node("QuantizeLinear", [read, "sx", "zx"], [f"q{number}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{number}", "sx", "zx"], [f"d{number}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{w}_codes", "sw"], [f"{w}_d"]))
            read, w = f"d{number}", f"{w}_d"
            if bias == "int32":
                nodes.append(helper.make_node("DequantizeLinear", [f"{b}_codes", "sb"], [f"{b}_d"], axis=0))
                b = f"{b}_d"
        inputs = [read, w] if bias == "none" else [read, w, b]
        nodes.append(helper.make_node("Conv", inputs, [f"c{number}"], name=f"conv{number}"))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        read = f"r{number}"
    nodes += [
        helper.make_node("GlobalAveragePool", [read], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
    ]
    w = "w3"
    if coded:
        nodes.append(helper.make_node("DequantizeLinear", ["w3_codes", "sw"], ["w3_d"]))
        w = "w3_d"
    nodes += [helper.make_node("MatMul", ["f", w], ["m"]), helper.make_node("Add", ["m", "b3"], ["y"], name="adder")]
    return nodes


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = {"w1": (6, 3, 1, 1), "w2": (6, 6, 1, 1), "w3": (6, 4)}
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    made |= {"b1": np.ones(6, np.float32), "b2": np.zeros(6, np.float32), "b3": np.zeros(4, np.float32)}
    return made


def _pair(build: Callable[..., ir.Model], weights: dict[str, np.ndarray], bias: str) -> tuple[ir.Model, ir.Model]:
    size = {"x": [1, 3, 8, 8]}
    float_ = build(_nodes(False, bias), weights, size, ["y"])
    codes = {f"{k}_codes": np.rint(weights[k] / STEP).astype(np.int8) for k in ("w1", "w2", "w3")}
    step = np.float32(0.03125) * STEP
    codes |= {f"{k}_codes": np.rint(weights[k] / step).astype(np.int32) for k in ("b1", "b2")}
    codes |= {"sx": np.float32(0.03125), "zx": np.uint8(0), "sw": STEP, "sb": np.full(6, step), "b3": weights["b3"]}
    kept = {"b1": weights["b1"], "b2": weights["b2"]} if bias == "float" else {}
    used = {name for node in _nodes(True, bias) for name in node.input}
    arrays = {k: np.asarray(v) for k, v in {**codes, **kept}.items() if k in used}
    return float_, build(_nodes(True, bias), arrays, size, ["y"])


def _samples(seed: int, count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": (rng.random((1, 3, 8, 8)) * 4).astype(np.float32)} for _ in range(count)]


def _error(left: list[dict[str, np.ndarray]], right: list[dict[str, np.ndarray]]) -> tuple[float, float]:
    """Mean square, and the square of the mean by channel."""
    delta = np.concatenate([a["y"] - b["y"] for a, b in zip(left, right, strict=True)])
    return float(np.square(delta).mean()), float(np.square(delta.mean(0)).mean())


@pytest.mark.parametrize("bias", ["int32", "float", "none"])
def test_the_mean_of_the_error_goes_on_samples_that_were_not_used(
    build: Callable[..., ir.Model], weights: dict[str, np.ndarray], bias: str
) -> None:
    reference, quantized = _pair(build, weights, bias)
    held_out = _samples(1, 32)
    wanted, before = run(reference, held_out), run(quantized, held_out)
    shifts = correct_biases(reference, quantized, _samples(0, 40))
    assert list(shifts) == ["c1", "c2", "y"]
    after = run(quantized, held_out)
    assert _error(wanted, after)[1] < 0.05 * _error(wanted, before)[1]
    assert _error(wanted, after)[0] < 0.5 * _error(wanted, before)[0]
    if bias != "float":
        for name in ("c1", "c2"):
            node = next(node for node in quantized.graph if node.outputs[0].name == name)
            made = node.inputs[2].producer()
            assert made.op_type == "DequantizeLinear"
            assert made.inputs[0].dtype == ir.DataType.INT32


def test_correcting_twice_changes_next_to_nothing(
    build: Callable[..., ir.Model], weights: dict[str, np.ndarray]
) -> None:
    reference, quantized = _pair(build, weights, "int32")
    first = correct_biases(reference, quantized, _samples(0, 16))
    second = correct_biases(reference, quantized, _samples(0, 16))
    assert max(second.values()) < 0.1 * max(first.values())


def test_the_analytic_shift_is_the_empirical_one_where_only_weights_are_coded(
    build: Callable[..., ir.Model], weights: dict[str, np.ndarray]
) -> None:
    model = build([helper.make_node("MatMul", ["x", "w3"], ["y"])], {"w3": weights["w3"]}, {"x": [9, 6]}, ["y"])
    (layer,) = layers_of(model)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.random((9, 6)).astype(np.float32)} for _ in range(5)]
    rounded = np.rint(weights["w3"] / STEP) * STEP
    shift = analytic_shift(layer, weights["w3"], rounded, moments(model, ["y"], samples)["y"])
    x = np.concatenate([sample["x"] for sample in samples])
    np.testing.assert_allclose(shift, (x @ weights["w3"] - x @ rounded).mean(0), rtol=1e-3, atol=1e-5)


def test_a_bias_that_others_read_is_left_to_them(
    build: Callable[..., ir.Model], weights: dict[str, np.ndarray]
) -> None:
    def nodes(first: str) -> list[object]:
        return [
            helper.make_node("Conv", ["x", first, "b1"], ["c1"], name="one"),
            helper.make_node("Conv", ["x", "w1", "b1"], ["c2"], name="other"),
        ]

    size = {"x": [1, 3, 8, 8]}
    kept = {"w1": weights["w1"], "b1": weights["b1"]}
    reference = build(nodes("w1"), kept, size, ["c1", "c2"])
    coarse = build(nodes("w0"), {**kept, "w0": np.rint(weights["w1"])}, size, ["c1", "c2"])
    correct_biases(reference, coarse, _samples(0, 8))
    sample = _samples(1, 1)
    np.testing.assert_array_equal(run(coarse, sample)[0]["c2"], run(reference, sample)[0]["c2"])
