"""Rounding by what the layer computes makes a smaller error than rounding to the nearest, on data it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from graphopt.calibrate import layers_of, moments
from graphopt.quantize.methods.rounding import Grid, output_error, polish, round_weights, spread_errors, weight_scales


def _correlated(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    mixed = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width))
    return (mixed / np.sqrt(width) + 0.5).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), groups=st.integers(1, 4), outputs=st.integers(1, 6), width=st.integers(1, 40))
def test_polishing_only_ever_lowers_the_error(seed: int, groups: int, outputs: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((groups, width, 3 * width)).astype(np.float32)
    h = np.matmul(x, x.swapaxes(1, 2)) / x.shape[-1] + 0.01 * np.eye(width, dtype=np.float32)
    weights = rng.standard_normal((groups, outputs, width)).astype(np.float32)
    grid = Grid.of(weights.shape, np.abs(weights).max(-1, keepdims=True) / 7, -7, 7)
    for start in (grid.nearest(weights), spread_errors(weights, grid, h)):
        after = polish(weights, start, grid, h)
        assert np.array_equal(after, np.rint(after))
        assert np.abs(after).max() <= 7
        before = output_error(weights - start * grid.scale, h).sum()
        assert output_error(weights - after * grid.scale, h).sum() <= before * (1 + 1e-4) + 1e-6


def _model(build: Callable[..., ir.Model], kind: str) -> tuple[ir.Model, list[int], int]:
    rng = np.random.default_rng(5)
    if kind == "MatMul":
        node, weight, size = helper.make_node("MatMul", ["x", "w"], ["y"]), (24, 10), [64, 24]
    elif kind == "Gemm":
        node, weight, size = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (10, 24), [64, 24]
    elif kind == "depthwise":
        node = helper.make_node("Conv", ["x", "w"], ["y"], group=8, pads=[1, 1, 1, 1])
        weight, size = (8, 1, 3, 3), [1, 8, 12, 12]
    elif kind == "ConvTranspose":
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
        weight, size = (8, 6, 3, 3), [1, 8, 12, 12]
    else:
        node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
        weight, size = (6, 8, 3, 3), [1, 8, 12, 12]
    model = build([node], {"w": rng.standard_normal(weight).astype(np.float32)}, {"x": size}, ["y"])
    (layer,) = layers_of(model)
    return model, size, layer.axis


def _samples(size: list[int], seed: int, count: int) -> list[dict[str, np.ndarray]]:
    """Neighbors alike and channels alike, as activations are."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((size[1], size[1])).astype(np.float32)
    found = []
    for _ in range(count):
        x = np.moveaxis(np.tensordot(rng.standard_normal(size), mix, ([1], [0])), -1, 1)
        for axis in range(2, len(size)):
            x = x + np.roll(x, 1, axis)
            x = x + np.roll(x, 2, axis)
        found.append({"x": np.maximum(x, 0).astype(np.float32)})
    return found


@pytest.mark.parametrize("kind", ["Conv", "depthwise", "ConvTranspose", "Gemm", "MatMul"])
def test_the_output_is_nearer_than_with_the_nearest_codes(build: Callable[..., ir.Model], kind: str) -> None:
    from graphopt.verify import run

    model, size, axis = _model(build, kind)
    (layer,) = layers_of(model)
    weight = model.graph.initializers["w"].const_value.numpy()
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(others) / 7
    spread = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    moment = moments(model, [layer.name], _samples(size, 0, 12))[layer.name]
    held_out = _samples(size, 1, 6)
    wanted = run(model, held_out)

    def error(codes: np.ndarray) -> float:
        assert codes.dtype == np.int32
        assert codes.shape == weight.shape
        assert np.abs(codes).max() <= 7
        changed = model.clone()
        changed.graph.initializers["w"].const_value = ir.Tensor((codes * spread).astype(np.float32), name="w")
        got = run(changed, held_out)
        return sum(float(np.square(a["y"] - b["y"]).sum()) for a, b in zip(wanted, got, strict=True))

    plain = round_weights(weight, scale, 0, axis, -7, 7, None, layer)
    assert np.array_equal(plain, np.clip(np.rint(weight / spread), -7, 7))
    assert error(round_weights(weight, scale, 0, axis, -7, 7, moment, layer)) < 0.8 * error(plain)


def test_zero_points_and_blocks_of_scales_are_kept_to(build: Callable[..., ir.Model]) -> None:
    model, size, _ = _model(build, "MatMul")
    (layer,) = layers_of(model)
    weight = model.graph.initializers["w"].const_value.numpy() + 1
    moment = moments(model, [layer.name], _samples(size, 0, 6))[layer.name]
    blocks = weight.reshape(3, 8, 10)
    low, high = np.minimum(blocks.min(1), 0), blocks.max(1)
    scale = np.repeat((high - low) / 15, 8, axis=0)
    zero = np.rint(np.repeat(-low / ((high - low) / 15), 8, axis=0))
    codes = round_weights(weight, scale, zero, None, 0, 15, moment, layer)
    assert codes.min() >= 0
    assert codes.max() <= 15
    assert np.abs((codes - zero) * scale - weight).max() < 3 * scale.max()


def test_a_column_that_is_never_used_does_not_break_the_others(build: Callable[..., ir.Model]) -> None:
    model, size, axis = _model(build, "MatMul")
    (layer,) = layers_of(model)
    samples = _samples(size, 0, 4)
    for sample in samples:
        sample["x"][:, 3] = 0
    moment = moments(model, [layer.name], samples)[layer.name]
    weight = model.graph.initializers["w"].const_value.numpy()
    codes = round_weights(weight, np.abs(weight).max(0) / 7, 0, axis, -7, 7, moment, layer)
    assert np.abs(codes[3] - weight[3] / (np.abs(weight).max(0) / 7)).max() <= 0.5 + 1e-5


def test_a_narrower_scale_is_taken_where_outliers_meet_nothing(build: Callable[..., ir.Model]) -> None:
    model, size, _ = _model(build, "MatMul")
    (layer,) = layers_of(model)
    weight = model.graph.initializers["w"].const_value.numpy().copy()
    weight[5] *= 6
    samples = _samples(size, 0, 6)
    for sample in samples:
        sample["x"][:, 5] *= 0.001
    moment = moments(model, [layer.name], samples)[layer.name]
    matrix = np.asarray(layer.matrix(weight), np.float32)
    chosen = weight_scales(matrix, moment, 7)
    assert (chosen < np.abs(weight).max(0) / 7 * 0.9).mean() > 0.5
    np.testing.assert_allclose(weight_scales(matrix, None, 127), np.abs(weight).max(0) / 127, rtol=0.2)
    assert weight_scales(matrix, moment, 7, per_tensor=True).shape == (1,)
