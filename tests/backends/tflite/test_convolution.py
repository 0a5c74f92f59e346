from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper


@st.composite
def windows(draw, transposed: bool = False):
    """Attributes of a convolution over one or two axes, its channels a group, and the input's lengths."""
    rank = draw(st.integers(1, 2))
    each = lambda low, high: draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))  # noqa: E731
    kernel, strides = each(1, 4), each(1, 3)
    dilations = [1] * rank if transposed else each(1, 2)
    pads = [draw(st.integers(0, size - 1)) for size in kernel * 2]
    return {
        "group": draw(st.sampled_from([1, 1, 2, 4])),
        "lengths": [draw(st.integers(8, 11)) for _ in range(rank)],
        "per_group": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "attributes": {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads},
    }


@settings(max_examples=60, deadline=None)
@given(windows())
def test_conv_agrees_for_any_stride_padding_dilation_and_group(one, floats, window):
    group, (ins, outs) = window["group"], window["per_group"]
    kernel = window["attributes"]["kernel_shape"]
    x, w = floats(2, ins * group, *window["lengths"]), floats(outs * group, ins, *kernel)
    one("Conv", {"x": x}, {"w": w, "b": floats(outs * group)}, group=group, **window["attributes"])


@settings(max_examples=40, deadline=None)
@given(windows(transposed=True), st.integers(0, 1))
def test_conv_transpose_agrees_for_any_stride_padding_and_group(one, floats, window, extra):
    group, (ins, outs), attributes = window["group"], window["per_group"], window["attributes"]
    added = [min(extra, stride - 1) for stride in attributes["strides"]]
    x, w = floats(1, ins * group, *window["lengths"]), floats(ins * group, outs, *attributes["kernel_shape"])
    one("ConvTranspose", {"x": x}, {"w": w, "b": floats(outs * group)}, group=group, output_padding=added, **attributes)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_agrees_under_auto_pad(one, floats, auto, stride):
    one("Conv", {"x": floats(1, 3, 9, 10)}, {"w": floats(4, 3, 3, 4)}, auto_pad=auto, strides=[stride, stride])


def test_conv_with_weights_computed_at_run_time_agrees(one, floats):
    one("Conv", {"x": floats(1, 3, 8, 8), "w": floats(4, 3, 3, 3)}, pads=[1, 1, 1, 1])


def test_conv_over_three_axes_agrees(one, floats):
    builtins = one("Conv", {"x": floats(1, 2, 5, 6, 7)}, {"w": floats(3, 2, 3, 3, 3)}, pads=[1, 0, 1, 1, 1, 1])
    assert "CONV_3D" in builtins


def test_depthwise_conv_is_one_builtin(one, floats):
    builtins = one("Conv", {"x": floats(1, 4, 8, 8)}, {"w": floats(8, 1, 3, 3)}, group=4, pads=[1, 1, 1, 1])
    assert builtins == ["TRANSPOSE", "DEPTHWISE_CONV_2D", "TRANSPOSE"]


@pytest.mark.parametrize(
    ("activation", "bounds"), [("Relu", ()), ("Clip", (0.0, 6.0)), ("Clip", (-1.0, 1.0)), ("Clip", (0.0, None))]
)
@pytest.mark.parametrize("before", ["Conv", "Add", "Gemm", "ConvTranspose"])
def test_an_activation_is_fused_into_the_operator_before_it(agrees, model, floats, before, activation, bounds):
    constants = {
        name: np.float32(value) for name, value in zip(("low", "high"), bounds, strict=False) if value is not None
    }
    constants |= {"w": floats(5, 5, 1, 1) if before.startswith("Conv") else floats(5, 5)}
    x = 3 * floats(1, 5, 5, 5) if before != "Gemm" else 3 * floats(4, 5)
    nodes = [
        helper.make_node(before, ["x", "w"], ["h"]),
        helper.make_node(activation, ["h", *(name for name in ("low", "high") if name in constants)], ["y"]),
    ]
    builtins = agrees(model(nodes, {"x": x}, constants), {"x": x})
    assert not any(name.startswith("RELU") or name in ("MAXIMUM", "MINIMUM") for name in builtins)


def test_an_activation_is_not_fused_when_others_read_its_input(agrees, model, floats):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Add", ["h", "r"], ["y"]),
    ]
    x = floats(1, 3, 5, 5)
    assert "RELU" in agrees(model(nodes, {"x": x}, {"w": floats(3, 3, 1, 1)}), {"x": x})


def test_conv_transpose_with_dilations_is_declined(declined, floats):
    reason = declined("ConvTranspose", {"x": floats(1, 2, 5, 5)}, {"w": floats(2, 2, 3, 3)}, dilations=[2, 2])
    assert "dilations [2, 2]" in reason
