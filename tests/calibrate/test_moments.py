"""Columns are what the layer multiplies its weight with: W · x is what onnxruntime computes, for every geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from graphopt.calibrate import layers_of, moments
from graphopt.calibrate.moments import Moment
from graphopt.calibrate.windows import columns
from graphopt.verify import Runner


def _columns_make_the_output(model: ir.Model, x: np.ndarray) -> None:
    (layer,) = layers_of(model)
    (y,) = Runner(model).run({"x": x}).values()
    weight = model.graph.initializers["w"].const_value.numpy()
    found = columns(layer, x, 10**9, np.random.default_rng(0))
    made = np.matmul(layer.matrix(weight), found)  # (groups, outputs, positions)
    made = made.reshape(-1, made.shape[-1])
    wanted = np.moveaxis(y, layer.channel_axis, 0).reshape(made.shape[0], -1)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layer.stored(layer.matrix(weight)), weight)


@st.composite
def _geometry(draw: st.DrawFn) -> dict[str, object]:
    rank = draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    space = [draw(st.integers(4, 6)) for _ in kernel]
    groups = draw(st.sampled_from([1, 2, 4]))
    return {
        "kernel": kernel, "space": space, "group": groups,
        "channels": groups * draw(st.integers(1, 2)), "outputs": draw(st.integers(1, 2)),
        "strides": [draw(st.integers(1, 3)) for _ in kernel],
        "dilations": [draw(st.integers(1, 2)) if k > 1 and s > 4 else 1 for k, s in zip(kernel, space, strict=True)],
        "pads": [draw(st.integers(0, k - 1)) for k in kernel * 2],
        "auto": draw(st.sampled_from(["", "", "SAME_UPPER", "SAME_LOWER", "VALID"])),
        "seed": draw(st.integers(0, 99)),
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(geometry=_geometry(), transposed=st.booleans())
def test_columns_of_a_convolution_make_its_output(
    build: Callable[..., ir.Model], geometry: dict[str, Any], transposed: bool
) -> None:
    rng = np.random.default_rng(geometry["seed"])
    kernel, groups, channels = geometry["kernel"], geometry["group"], geometry["channels"]
    ends = [geometry["outputs"], channels // groups]
    shape = [channels, ends[0]] if transposed else [ends[0] * groups, ends[1]]
    attributes = {key: geometry[key] for key in ("group", "strides", "dilations")}
    if geometry["auto"] and not transposed:
        attributes |= {"auto_pad": geometry["auto"], "dilations": [1] * len(kernel)}
    else:
        attributes["pads"] = geometry["pads"]
    if transposed:
        # onnxruntime wants the padding at the output's end to be less than a stride
        attributes["output_padding"] = [stride - 1 for stride in geometry["strides"]]
    node = helper.make_node("ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"], **attributes)
    weight = rng.standard_normal([*shape, *kernel]).astype(np.float32)
    size = [2, channels, *geometry["space"]]
    model = build([node], {"w": weight}, {"x": size}, ["y"])
    _columns_make_the_output(model, rng.standard_normal(size).astype(np.float32))


def test_columns_of_linear_layers_make_their_output(build: Callable[..., ir.Model]) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 4)).astype(np.float32)
    x = rng.standard_normal((5, 6)).astype(np.float32)
    for node, stored in (
        (helper.make_node("MatMul", ["x", "w"], ["y"]), weight),
        (helper.make_node("Gemm", ["x", "w"], ["y"]), weight),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), np.ascontiguousarray(weight.T)),
    ):
        _columns_make_the_output(build([node], {"w": stored}, {"x": [5, 6]}, ["y"]), x)


def test_forms_that_are_not_one_product_are_no_layers(build: Callable[..., ir.Model]) -> None:
    weight = np.ones((2, 6, 4), np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "x"], ["b"]),
        helper.make_node("Gemm", ["m", "m2"], ["c"], transA=1),
    ]
    square = {"m2": np.ones((3, 3), np.float32), "w": weight}
    model = build(nodes, square, {"x": [2, 6, 6], "m": [3, 3]}, ["a", "b", "c"])
    assert not list(layers_of(model))


def test_moments_are_means_of_products_and_the_same_in_every_run(build: Callable[..., ir.Model]) -> None:
    rng = np.random.default_rng(0)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = build([node], {"w": np.ones((6, 4), np.float32)}, {"x": [50, 6]}, ["y"])
    samples = [{"x": rng.standard_normal((50, 6)).astype(np.float32) + 1} for _ in range(4)]
    found, again = (moments(model, ["y"], samples)["y"] for _ in range(2))
    rows = np.concatenate([s["x"] for s in samples])
    np.testing.assert_allclose(found.h[0], rows.T @ rows / 200, rtol=1e-4)
    np.testing.assert_allclose(found.mean[0], rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.covariance[0], np.cov(rows.T, bias=True), atol=1e-4)
    assert found.count == 200
    np.testing.assert_array_equal(found.h, again.h)


def test_a_wide_layer_keeps_products_inside_blocks_only() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((2, 3, 10)).astype(np.float32)
    moment = Moment(np.zeros((6, 4, 4), np.float32), np.zeros((6, 4), np.float32), blocks=3)
    parts = moment.split(matrix)
    assert parts.shape == (6, 3, 4)
    np.testing.assert_array_equal(moment.joined(parts, 10), matrix)
    x = rng.standard_normal((2, 10, 7)).astype(np.float32)
    moment.add(x)
    np.testing.assert_allclose(moment.h[0], x[0, :4] @ x[0, :4].T / 7, rtol=1e-4)
    assert not moment.h[2, 2:].any()  # filled up with zeros
