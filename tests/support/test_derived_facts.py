"""Facts that are worked out from sizes: what a window sees of its input, and what a resize does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.support.predicate import Fact
from graphopt.support.probe import facts_of


def known(
    op: str, shape: list[Any], *constants: np.ndarray | None, out: int | None = None, opset: int = 17, **attributes: Any
) -> dict[str, Fact]:
    """Facts of a node with one run-time input."""
    names = ["x", *("" if array is None else f"c{index}" for index, array in enumerate(constants))]
    stored = [numpy_helper.from_array(a, f"c{i}") for i, a in enumerate(constants) if a is not None]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="op", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None if out is None else [None] * out)],
        stored,
    )
    return facts_of(onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


@pytest.mark.parametrize(
    ("attributes", "pads", "rest"),
    [
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, "zero", "none"),
        ({"kernel_shape": [3, 3], "strides": [2, 2]}, "zero", "some"),
        ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, "symmetric", "none"),
        ({"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}, "wide", "none"),
        ({"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "asymmetric", "none"),
        ({"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}, "symmetric", "none"),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, "zero", "none"),
        ({"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}, "zero", "some"),
    ],
)
def test_what_padding_and_stride_come_to(attributes: dict[str, Any], pads: str, rest: str) -> None:
    facts = known("AveragePool", [1, 4, 8, 8], **attributes)
    assert (facts["window.pads"], facts["window.rest"]) == (pads, rest)


@pytest.mark.parametrize(("size", "told"), [(1, "1"), (3, "up to 3"), (4, "from 4"), (7, "from 4")])
def test_the_size_of_a_window_also_where_only_the_weights_tell_it(size: int, told: str) -> None:
    weights = np.zeros((2, 4, size, 1), np.float32)
    assert known("Conv", [1, 4, 8, 8], weights)["window.size"] == told
    assert known("Conv", [1, 4, "H", 8], weights)["window.pads"] == "computed"


def test_an_output_without_elements_is_told() -> None:
    assert known("MaxPool", [1, 4, 4, 4], kernel_shape=[5, 5])["empty"] is True
    assert known("MaxPool", [1, 4, 5, 5], kernel_shape=[5, 5])["empty"] is False


@pytest.mark.parametrize(
    ("scales", "scale", "resized", "sizes"),
    [
        ([1, 1, 2, 2], "integer up", "last two", "exact"),
        ([1, 1, 1, 1], "1", "none", "exact"),
        ([1, 1, 1.5, 1.5], "fraction up", "last two", "rounded"),
        ([1, 1, 1, 0.2], "other down", "last", "exact"),
        ([1, 2, 2, 2], "integer up", "last three", "exact"),
        ([2, 1, 2, 2], "integer up", "other", "exact"),
    ],
)
def test_what_scales_do(scales: list[float], scale: str, resized: str, sizes: str) -> None:
    facts = known("Resize", [1, 2, 5, 5], None, np.array(scales, np.float32))
    assert (facts["scale"], facts["resized"]) == (scale, resized)
    assert facts["sizes"] == ("rounded" if scale == "other down" else sizes)  # 0.2 is not a fifth in binary


def test_what_sizes_do() -> None:
    facts = known("Resize", [1, 2, 5, 5], None, None, np.array([1, 2, 10, 5]))
    assert (facts["scale"], facts["resized"], facts["sizes"]) == ("integer up", "last two", "given")


def test_scales_tell_what_they_resize_where_sizes_are_free() -> None:
    facts = known("Resize", ["N", 2, "H", "W"], None, np.array([1, 1, 2, 2], np.float32))
    assert (facts["scale"], facts["resized"], facts["sizes"]) == ("integer up", "last two", "computed")


@pytest.mark.parametrize(("axis", "counted"), [(1, "from the start"), (-1, "as -1"), (-2, "from the end")])
def test_the_direction_in_which_an_axis_counts(axis: int, counted: str) -> None:
    assert known("Softmax", [2, 3, 4], axis=axis)["axis.counted"] == counted


def test_a_node_of_constants_only_is_foldable() -> None:
    assert known("Add", [2], np.zeros(2, np.float32))["inputs.foldable"] is False
    graph = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["y"], name="op")],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.zeros(2, np.float32), "c")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert facts_of(model)["inputs.foldable"] is True


def test_noop_with_empty_axes_says_nothing_beside_axes() -> None:
    axes = np.array([1])
    assert known("ReduceSum", [2, 3], axes, noop_with_empty_axes=1)["attr.noop_with_empty_axes"] == 0
    assert known("ReduceSum", [2, 3], noop_with_empty_axes=1)["attr.noop_with_empty_axes"] == 1


def test_a_list_of_sizes_without_elements_is_no_tensor_without_elements() -> None:
    """Reshape to a scalar, and a Resize with an empty region of interest: all data have elements."""
    assert known("Reshape", [1, 1], np.zeros(0, np.int64))["empty"] is False
    region, scales = np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)
    assert known("Resize", [1, 1, 4, 4], region, scales)["empty"] is False
    assert known("Relu", [0, 4])["empty"] is True


@pytest.mark.parametrize(
    ("shape", "batch"), [([1, 4, 4], "one"), ([3, 4, 4], "several"), (["N", 4, 4], "open"), ([3, 4], None)]
)
def test_a_batch_is_told_where_there_is_one(shape: list[Any], batch: str | None) -> None:
    assert known("Relu", shape).get("batch") == batch


@pytest.mark.parametrize(("side", "told"), [(16, "up to 256"), (24, "up to 1024"), (100, "up to 10000"), (101, "more")])
def test_the_volume_of_a_window_is_told_by_class(side: int, told: str) -> None:
    facts = known("AveragePool", [1, 1, 120, 120], kernel_shape=[side, side])
    assert facts["window.volume"] == told


def test_attributes_that_a_mode_of_resize_does_not_read_have_their_default() -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    linear = known("Resize", [1, 1, 4, 4], None, scales, mode="linear", nearest_mode="floor", exclude_outside=1)
    assert (linear["attr.nearest_mode"], linear["attr.exclude_outside"]) == ("round_prefer_floor", 0)
    near = known("Resize", [1, 1, 4, 4], None, scales, mode="nearest", nearest_mode="floor")
    assert near["attr.nearest_mode"] == "floor"
    cubic = known("Resize", [1, 1, 4, 4], None, scales, mode="cubic", exclude_outside=1)
    assert cubic["attr.exclude_outside"] == 1


def test_where_a_shape_is_cut_is_told_by_class() -> None:
    assert known("Shape", [1, 2, 3])["attr.end"] == "default"
    assert known("Shape", [1, 2, 3], end=2)["attr.end"] == "other"


def test_steps_of_an_open_length_are_told_apart_from_unknown_ones() -> None:
    weights = [np.zeros((1, 8, size), np.float32) for size in (3, 2)]
    steps = [known("LSTM", [length, 1, 3], *weights, hidden_size=2)["steps"] for length in (2, 9, "T")]
    assert steps == ["few", "many", "open"]
