"""The layer that goes wrong is named, by comparing values and by changing one layer at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.calibrate import layers_of, moments
from graphopt.quantize.debug import drifts, worst
from graphopt.quantize.grid import from_range
from graphopt.quantize.mixed import Budget
from graphopt.quantize.precision import choose_precision
from graphopt.quantize.scheme import Codes, Scheme
from graphopt.quantize.sensitivity import as_if_quantized, one_at_a_time, trace_noise


@pytest.fixture
def net(build: Callable[..., ir.Model]) -> ir.Model:
    rng = np.random.default_rng(0)
    weights = {f"w{n}": rng.standard_normal((8, 8, 1, 1)).astype(np.float32) / 3 for n in range(4)}
    nodes = [
        helper.make_node("Conv", ["x" if n == 0 else f"h{n - 1}", f"w{n}"], [f"h{n}"], name=f"conv{n}")
        for n in range(4)
    ]
    return build(nodes, weights, {"x": [1, 8, 5, 5]}, ["h3"])


def _samples(count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((1, 8, 5, 5)).astype(np.float32)} for _ in range(count)]


def _coarse(net: ir.Model, number: int, step: float) -> np.ndarray:
    return np.rint(net.graph.initializers[f"w{number}"].const_value.numpy() / step) * step


def test_the_layer_at_which_the_error_begins_is_the_worst(net: ir.Model) -> None:
    bad = net.clone()
    as_if_quantized("h2", _coarse(net, 2, 0.3), None)(bad)
    found = drifts(net, bad, _samples(), budget=1)
    assert [one.node for one in found] == ["conv0", "conv1", "conv2", "conv3"]
    assert found[0].sqnr_db == found[1].sqnr_db == 300
    assert found[2].sqnr_db < 25
    assert found[2].fall_db > 45
    assert [one.node for one in worst(found)] == ["conv2"]


def test_a_mean_that_is_off_shows(net: ir.Model) -> None:
    bad = net.clone()
    node = next(node for node in bad.graph if node.name == "conv3")
    bias = ir.Value(name="b", const_value=ir.Tensor(np.full(8, 0.5, np.float32), name="b"))
    bad.graph.register_initializer(bias)
    node.resize_inputs(3)
    node.replace_input_with(2, bias)
    assert drifts(net, bad, _samples())[-1].mean_shift > 0.3


def test_one_at_a_time_ranks_layers_by_what_they_cost(net: ir.Model) -> None:
    changes = {f"h{n}": as_if_quantized(f"h{n}", _coarse(net, n, 0.01 * 4**n), None) for n in range(4)}
    before = ir.serde.serialize_model(net).SerializeToString(deterministic=True)
    found = one_at_a_time(net, changes, _samples())
    assert sorted(found, key=found.get) == ["h0", "h1", "h2", "h3"]
    assert ir.serde.serialize_model(net).SerializeToString(deterministic=True) == before


def test_activations_of_eight_bits_cost_what_uniform_noise_says(net: ir.Model) -> None:
    grid = from_range(-4.0, 4.0, Codes(dtype="int8"))
    found = one_at_a_time(net, {"h0": as_if_quantized("h0", None, grid)}, _samples())
    # step²/12 over the variance 1 of the input, passed on alike
    assert found["h0"] == pytest.approx((8 / 255) ** 2 / 12, rel=0.3)


def test_the_trace_is_the_noise_at_the_layer_itself(net: ir.Model) -> None:
    rounded = _coarse(net, 3, 0.2)
    measured = one_at_a_time(net, {"h3": as_if_quantized("h3", rounded, None)}, _samples())["h3"]
    layer = next(layer for layer in layers_of(net) if layer.name == "h3")
    moment = moments(net, ["h3"], _samples())["h3"]
    weight = net.graph.initializers["w3"].const_value.numpy()
    assert trace_noise(layer, weight, rounded, moment) == pytest.approx(measured, rel=1e-3)


def test_the_layers_that_would_cost_most_are_those_that_stay_in_float(net: ir.Model) -> None:
    from graphopt.ir import infer_shapes

    uneven = np.exp2(np.linspace(-6, 6, 8))
    for name, factors in (("w2", uneven.reshape(8, 1, 1, 1)), ("w3", 1 / uneven.reshape(1, 8, 1, 1))):
        value = net.graph.initializers[name]
        value.const_value = ir.Tensor((value.const_value.numpy() * factors).astype(np.float32), name=name)
    infer_shapes(net)
    four = Scheme(name="w4", weights=Codes(dtype="int4", symmetric=True, narrow=True), weighted={"Conv": "tensor"})
    found = choose_precision(net, four, _samples(), Budget(size=64 * 2 / 2 + 64 * 4 * 2))
    assert [node.name for node in found.kept] == ["conv2", "conv3"]
    assert choose_precision(net, four, _samples(), Budget(size=64 * 4 / 2)).kept == []
    tight = choose_precision(net, four, _samples(), Budget(min_sqnr=100))
    assert len(tight.kept) == 4
    assert tight.sqnr_db >= 100
