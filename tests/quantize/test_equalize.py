"""Scaling channels between layers leaves the function as it is, residual additions included, and narrows ranges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.ir import infer_shapes
from graphopt.quantize.methods.absorb import absorb_biases
from graphopt.quantize.methods.equalize import equalize
from graphopt.quantize.methods.regions import regions
from graphopt.verify import compare, run

UNEVEN = np.exp2(np.linspace(-4, 4, 8)).astype(np.float32)
X = {"x": [1, 3, 8, 8]}


def _weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {
        "w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 8, 1, 1), "w4": (8, 8, 1, 1), "w5": (8, 5, 2, 2),
        "g1": (8, 8), "g2": (8, 4),
    }  # fmt: skip
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    made["w1"] *= UNEVEN.reshape(8, 1, 1, 1)
    made["w3"] *= UNEVEN[::-1].reshape(8, 1, 1, 1)
    made |= {
        "b1": UNEVEN.copy(),
        "slope": np.full((8, 1, 1), 0.1, np.float32),
        "six": np.float32(6),
        "zero": np.float32(0),
    }
    made |= {"gamma": UNEVEN.copy(), "beta": np.linspace(-1, 1, 8).astype(np.float32), "huge": np.float32(1e6)}
    return made


def _model(
    build: Callable[..., ir.Model], nodes: list[object], outputs: list[str], inputs: dict | None = None
) -> ir.Model:
    used = {name for node in nodes for name in node.input}
    model = build(nodes, {k: np.asarray(v) for k, v in _weights().items() if k in used}, inputs or X, outputs)
    infer_shapes(model)
    return model


def _samples(count: int = 4, size: tuple[int, ...] = (1, 3, 8, 8)) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [{"x": rng.standard_normal(size).astype(np.float32)} for _ in range(count)]


def _conv(inputs: str, out: str, **attributes: object) -> object:
    return helper.make_node("Conv", inputs.split(), [out], **attributes)


def _op(kind: str, inputs: str, out: str, **attributes: object) -> object:
    return helper.make_node(kind, inputs.split(), [out], **attributes)


NETS = {
    "chain": [_conv("x w1 b1", "a", pads=[1] * 4), _op("Relu", "a", "r"), _conv("r w3", "y")],
    "depthwise": [
        _conv("x w1 b1", "a", pads=[1] * 4), _op("Relu", "a", "r"), _conv("r w2", "d", group=8), _conv("d w3", "y"),
    ],
    "slopes": [_conv("x w1", "a"), _op("PRelu", "a slope", "p"), _op("LeakyRelu", "p", "l"), _conv("l w3", "y")],
    "transposed": [_conv("x w1", "a"), _op("Relu", "a", "r"), _op("ConvTranspose", "r w5", "y", strides=[2, 2])],
    "residual": [
        _conv("x w1 b1", "a", pads=[1] * 4), _conv("a w3", "c"), _op("Relu", "c", "r"), _conv("r w4", "e"),
        _op("Add", "a e", "s"), _conv("s w3", "y"),
    ],
    "pooled": [
        _conv("x w1", "a"), _op("Relu", "a", "r"), _op("MaxPool", "r", "m", kernel_shape=[2, 2]), _conv("m w3", "y"),
    ],
    "clip never reached": [_conv("x w1", "a"), _op("Clip", "a zero huge", "r"), _conv("r w3", "y")],
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("per_tensor", [(), ("Conv", "ConvTranspose")])
def test_the_function_stays(build: Callable[..., ir.Model], name: str, per_tensor: tuple[str, ...]) -> None:
    model = _model(build, NETS[name], ["y"])
    before = run(model, _samples())
    done = equalize(model, _samples(), per_tensor=per_tensor)
    assert done
    assert min(error.sqnr_db for error in compare(before, run(model, _samples()))) > 110


def test_one_scale_for_a_weight_suffices_after_equalization(build: Callable[..., ir.Model]) -> None:
    def error(model: ir.Model, samples: list[dict[str, np.ndarray]]) -> float:
        coarse = model.clone()
        for value in coarse.graph.initializers.values():
            array = value.const_value.numpy()
            if array.ndim == 4:
                scale = np.abs(array).max() / 127
                value.const_value = ir.Tensor((np.rint(array / scale) * scale).astype(np.float32))
        return compare(run(model, samples), run(coarse, samples))[0].sqnr_db

    model = _model(build, NETS["depthwise"], ["y"])
    before = error(model, _samples())
    equalize(model, _samples(), per_tensor=("Conv",))
    assert error(model, _samples()) > before + 6


def test_what_is_clipped_or_leaves_the_model_is_not_scaled(build: Callable[..., ir.Model]) -> None:
    clipped = [_conv("x w1", "a"), _op("Clip", "a zero six", "r"), _conv("r w3", "y")]
    assert not equalize(_model(build, clipped, ["y"]), _samples())
    assert not equalize(_model(build, NETS["chain"], ["y", "r"]), _samples())
    curved = [_conv("x w1", "a"), _op("Sigmoid", "a", "r"), _conv("r w3", "y")]
    assert not equalize(_model(build, curved, ["y"]), _samples())
    joined = [_conv("x w1", "a"), _op("Concat", "a a", "r", axis=2), _conv("r w3", "y")]
    assert not equalize(_model(build, joined, ["y"]), _samples())


def test_a_normalization_takes_the_factors_of_the_linear_layers_behind_it(build: Callable[..., ir.Model]) -> None:
    nodes = [
        _op("LayerNormalization", "x gamma beta", "n"), _op("MatMul", "n g1", "q"), _op("MatMul", "n g2", "k"),
        _op("Softmax", "q", "y"),
    ]  # fmt: skip
    model = _model(build, nodes, ["y", "k"], {"x": [1, 7, 8]})
    samples = _samples(4, (1, 7, 8))
    before = run(model, samples)
    (done,) = equalize(model, samples)
    assert len(done.readers) == 2
    assert done.gain > 1.5
    assert min(error.sqnr_db for error in compare(before, run(model, samples))) > 110
    scale = next(iter(model.graph)).inputs[1]
    assert np.ptp(np.log(np.abs(scale.const_value.numpy()))) < np.ptp(np.log(UNEVEN))


def test_a_residual_stream_is_one_region(build: Callable[..., ir.Model]) -> None:
    model = _model(build, NETS["residual"], ["y"])
    stream = next(region for region in regions(model) if "s" in region.values)
    assert set(stream.values) == {"a", "e", "s"}
    assert len(stream.writers) == 2
    assert {layer.name for layer in stream.readers} == {"c", "y"}


def test_what_a_channel_always_exceeds_moves_behind_the_relu(build: Callable[..., ir.Model]) -> None:
    model = _model(build, NETS["chain"], ["y"])
    bias = model.graph.initializers["b1"]
    bias.const_value = ir.Tensor(np.full(8, 500, np.float32))
    before = run(model, _samples())
    probe = model.clone()
    probe.graph.outputs[:] = [next(v for node in probe.graph for v in node.outputs if v.name == "a")]
    values = np.concatenate([one["a"] for one in run(probe, _samples())])
    assert absorb_biases(model, {"a": values.mean((0, 2, 3))}, {"a": values.std((0, 2, 3))}) == 1
    assert min(error.sqnr_db for error in compare(before, run(model, _samples()))) > 60
    (first,) = [node for node in model.graph if node.outputs[0].name == "a"]
    assert first.inputs[2].const_value.numpy().max() < 450
