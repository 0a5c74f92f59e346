"""What folds into layers, and what must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

Fuse = Callable[..., list[str]]
Apply = Callable[..., ir.Model]
HEADER = '<ir_version: 9, opset_import: ["": 18]>\n'
KERNEL = "float[1, 2, 2] w = {1, 2, 3, 4}"


@pytest.mark.parametrize(
    ("pad", "layer"),
    [
        ('Pad <mode = "reflect"> (x, n)', "Conv (p, w)"),
        ("Pad (x, n, one)", "Conv (p, w)"),
        ("Pad (x, less)", "Conv (p, w)"),
        ("Pad (x, channels)", "Conv (p, wide)"),
        ("Pad (x, n)", 'Conv <auto_pad = "SAME_UPPER"> (p, w)'),
        ("Pad (x, n)", "MaxPool <kernel_shape = [2]> (p)"),
        ("Pad (x, n)", "AveragePool <kernel_shape = [2], pads = [1, 0]> (p)"),
        ("Pad (x, n)", "AveragePool <kernel_shape = [2], ceil_mode = 1> (p)"),
        ("Pad (x, n)", "AveragePool <kernel_shape = [1]> (p)"),
    ],
)
def test_a_pad_that_a_layer_does_not_mean_stays(fused: Fuse, pad: str, layer: str) -> None:
    constants = (
        f"int64[6] n = {{0, 0, 1, 0, 0, 1}}, int64[6] less = {{0, 0, -1, 0, 0, 0}}, float one = {{1}}, "
        f"int64[6] channels = {{0, 0, 0, 0, 1, 0}}, float[1, 3, 1] wide = {{1, 2, 3}}, {KERNEL}"
    )
    text = HEADER + f"g (float[1, 2, 5] x) => (float[a, b, c] y) <{constants}> {{ p = {pad} y = {layer} }}"
    assert "Pad" in fused(text, "fuse-pad")


def test_a_pad_with_another_reader_stays(fused: Fuse) -> None:
    text = (
        HEADER
        + f"""g (float[1, 2, 5] x) => (float[1, 1, 6] y, float[1, 2, 7] p)
        <int64[6] n = {{0, 0, 1, 0, 0, 1}}, {KERNEL}> {{ p = Pad (x, n) y = Conv (p, w) }}"""
    )
    assert fused(text, "fuse-pad") == ["Pad", "Conv"]


@pytest.mark.parametrize(("channels", "left"), [(1, ["Conv"]), (32, ["Pad", "Conv"])])
def test_a_pad_before_a_long_and_wide_kernel_stays_since_it_is_faster(
    apply: Apply, channels: int, left: list[str]
) -> None:
    weight = numpy_helper.from_array(np.ones((64, channels, 64), np.float32), "w")
    pads = numpy_helper.from_array(np.array([0, 0, 31, 0, 0, 32]), "n")
    graph = helper.make_graph(
        [helper.make_node("Pad", ["x", "n"], ["p"]), helper.make_node("Conv", ["p", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, [1, channels, 128])],
        [helper.make_tensor_value_info("y", 1, [1, 64, 128])], [weight, pads],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert [n.op_type for n in apply("fuse-pad", model).graph] == left


def test_a_batch_normalization_that_trains_stays(apply: Apply) -> None:
    text = (
        HEADER
        + """g (float[4, 2] x) => (float[4, 2] y)
        <float[2, 2] w = {1, 2, 3, 4}, float[2] s = {2, 2}, float[2] t = {1, 0}, float[2] m = {0, 0},
         float[2] v = {1, 1}>
        { a = MatMul (x, w) y, q, r = BatchNormalization <training_mode = 1> (a, s, t, m, v) }"""
    )
    assert [n.op_type for n in apply("fuse", text).graph] == ["MatMul", "BatchNormalization"]


def test_a_weight_that_the_caller_can_override_is_not_folded_into(apply: Apply) -> None:
    text = (
        HEADER
        + """g (float[1, 2] x, float[2, 2] w) => (float[1, 2] y)
        <float[2, 2] w = {1, 2, 3, 4}, float two = {2}>
        { a = MatMul (x, w) y = Mul (a, two) }"""
    )
    assert [n.op_type for n in apply("fuse-conv-scale", text).graph] == ["MatMul", "Mul"]


def test_a_large_weight_that_others_read_is_not_copied(apply: Apply) -> None:
    weight = numpy_helper.from_array(np.ones((256, 256), np.float32), "w")
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "two"], ["y"]),
            helper.make_node("MatMul", ["y", "w"], ["z"]),
        ],
        "g", [helper.make_tensor_value_info("x", 1, [1, 256])], [helper.make_tensor_value_info("z", 1, [1, 256])],
        [weight, two],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert [n.op_type for n in apply("fuse-conv-scale", model).graph] == ["MatMul", "Mul", "MatMul"]


def test_a_summand_that_makes_the_product_larger_stays(fused: Fuse) -> None:
    text = (
        HEADER
        + """g (float[1, 2] x) => (float[3, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float[3, 1] c = {1, 2, 3}>
        { a = MatMul (x, w) y = Add (a, c) }"""
    )
    assert fused(text, "fuse") == ["MatMul", "Add"]


def test_sums_of_branches_hand_their_constant_to_a_layer(fused: Fuse) -> None:
    text = (
        HEADER
        + f"""g (float[1, 2, 5] x) => (float[1, 1, 4] y, float[1, 1, 4] z)
        <{KERNEL}, float[1, 2, 2] v = {{4, 3, 2, 1}}, float c = {{3}}>
        {{ a = Conv (x, w) b = Conv (x, v) r = Add (a, b) y = Add (r, c) z = Relu (r) }}"""
    )
    assert fused(text, "fuse") == ["Conv", "Conv", "Add", "Add", "Relu"]  # r has another reader
    assert fused(text.replace("z = Relu (r)", "z = Relu (y)"), "fuse") == ["Conv", "Conv", "Add", "Relu"]


def test_layers_in_bodies_are_fused(fused: Fuse) -> None:
    text = (
        HEADER
        + """g (bool c, float[1, 2] x) => (float[1, 2] y)
        <float[2, 2] w = {1, 2, 3, 4}, float[2] b = {1, 2}> {
        y = If (c) <then_branch = a () => (float[1, 2] p) { q = MatMul (x, w) p = Add (q, b) },
                    else_branch = e () => (float[1, 2] r) { r = Relu (x) }> }"""
    )
    assert sorted(fused(text, "fuse")) == ["Gemm", "If", "Relu"]


def test_an_attribute_that_only_the_call_of_a_function_says_keeps_the_node(apply: Apply) -> None:
    text = """<ir_version: 9, opset_import: ["": 17, "local": 1]>
        g (float[2, 3] x, float[3, 2] w) => (float[2, 2] y) { y = local.f <flip = 0> (x, w) }
        <domain: "local", opset_import: ["": 17]>
        f <flip> (x, w) => (y) { t = Transpose <perm = [1, 0]> (w) y = Gemm <transB: int = @flip> (x, t) }"""
    after = apply("fuse-gemm", text)
    assert [n.op_type for f in after.functions.values() for n in f] == ["Transpose", "Gemm"]


@pytest.mark.parametrize("shape", ["{0, 0, 2, 2}", "{-1, 3, 2, 2}", "{2, 3, 2, 2}"])
def test_projections_become_gemms_whatever_their_last_shape_says(fused: Fuse, shape: str) -> None:
    weight = ", ".join(str(i) for i in range(16))
    text = (
        HEADER
        + f"""g (float[2, 3, 4] x) => (float[2, 3, 2, 2] a, float[2, 3, 2, 2] b)
        <float[4, 4] v = {{{weight}}}, float[4] s = {{1, 2, 3, 4}}, int64[4] heads = {shape}> {{
        p = MatMul (x, v) q = Add (p, s) a = Reshape (q, heads)
        m = MatMul (x, v) n = Add (s, m) b = Reshape (n, heads) }}"""
    )
    assert fused(text, "fuse-linear", "canonicalize").count("Add") == 0


@pytest.mark.parametrize("size", [0, 1, 3])
def test_projections_of_a_dynamic_batch_become_gemms(fused: Fuse, size: int) -> None:
    text = (
        HEADER
        + """g (float[N, 3, 2] x) => (float[N, 3, 1, 2] a, float[N, 3, 1, 2] b)
        <float[2, 2] v = {1, 2, 3, 4}, float[2] s = {1, 2}, int64[4] heads = {0, 0, 1, 2}> {
        p = MatMul (x, v) q = Add (p, s) a = Reshape (q, heads)
        m = MatMul (x, v) n = Add (s, m) b = Reshape (n, heads) }"""
    )
    assert fused(text, "fuse-linear", dims={"N": size}).count("Gemm") == 2


def test_a_last_shape_that_would_copy_the_wrong_dimension_keeps_the_projection(fused: Fuse) -> None:
    text = (
        HEADER
        + """g (float[N, M, 2] x) => (float[N, M, 1, 2] a, float[N, M, 1, 2] b)
        <float[2, 2] v = {1, 2, 3, 4}, float[2] s = {1, 2}, int64[4] heads = {0, 0, 1, 2}> {
        p = MatMul (x, v) q = Add (p, s) a = Reshape (q, heads)
        m = MatMul (x, v) n = Add (s, m) b = Reshape (n, heads) }"""
    )
    assert "Gemm" not in fused(text, "fuse-linear")


def test_the_factor_of_a_gelu_stays_before_opset_20_and_the_gelu_goes_after(fused: Fuse) -> None:
    body = """g (float[2, 2] x) => (float[2, 2] y)
        <float root = {1.4142135}, float one = {1}, float half = {0.5}, float[2, 2] w = {1, 2, 3, 4}>
        { a = Div (x, root) b = Erf (a) c = Add (b, one) d = Mul (x, c) e = Mul (d, half) y = MatMul (e, w) }"""
    assert fused(HEADER + body, "fuse") == ["Div", "Erf", "Add", "Mul", "Mul", "MatMul"]
    assert fused(HEADER.replace("18", "20") + body, "fuse") == ["Gelu", "MatMul"]


@pytest.mark.parametrize("kind", ["Mul", "Div", "Add", "Sub"])
def test_a_constant_that_makes_one_channel_three_stays(fused: Fuse, kind: str) -> None:
    text = (
        HEADER
        + f"""g (float[1, 1, 4] x) => (float[a, b, c] y)
        <float[3, 1] mean = {{1, 2, 4}}, float[2, 3, 1] w = {{1, 2, 3, 4, 5, 6}}>
        {{ n = {kind} (x, mean) y = Conv (n, w) }}"""
    )
    name = "fuse-scale-conv" if kind in ("Mul", "Div") else "fuse-conv-bias"
    assert fused(text, name) == [kind, "Conv"]


def test_a_hard_swish_of_whole_numbers_stays(apply: Apply) -> None:
    text = (
        HEADER
        + """g (int32[4] x) => (int32[4] y) <int32 three = {3}, int32 zero = {0}, int32 six = {6}>
        { a = Add (x, three) c = Clip (a, zero, six) m = Mul (x, c) y = Div (m, six) }"""
    )
    assert [node.op_type for node in apply("fuse-hard-swish", text).graph] == ["Add", "Clip", "Mul", "Div"]
