"""Attention is fused where Attention computes the same, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.ir import load, to_proto
from graphopt.verify import run

Apply = Callable[..., ir.Model]
FLOAT_MIN = float(np.finfo(np.float32).min)


def attention(
    mask: str = "",
    *,
    nodes: Sequence[onnx.NodeProto] = (),
    constants: dict[str, np.ndarray] | None = None,
    inputs: dict[str, tuple[int, Sequence[Any]]] | None = None,
    outputs: Sequence[str] = ("y",),
    batch: Any = "B",
    length: Any = "S",
    dtype: int = TensorProto.FLOAT,
    opset: int = 23,
    scale: float = 0.5,
) -> onnx.ModelProto:
    """Attention over [batch, 2 heads, length, 4] as it is exported, with `mask` added to the scores."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    shape = [batch, 2, length, 4]
    given = dict.fromkeys("qkv", (dtype, shape)) | (inputs or {})
    body = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["dots"]),
        helper.make_node("Mul", ["dots", "scale"], ["scores"]),
        *nodes,
        *([helper.make_node("Add", ["scores", mask], ["masked"])] if mask else []),
        helper.make_node("Softmax", ["masked" if mask else "scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["y"]),
    ]
    held = {"scale": np.array(scale, kind)} | (constants or {})
    graph = helper.make_graph(
        body,
        "g",
        [helper.make_tensor_value_info(name, *one) for name, one in given.items()],
        [helper.make_tensor_value_info(name, dtype, [None] * 4) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def feeds(batch: int, length: int, **more: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((batch, 2, length, 4)).astype(np.float32) for name in "qkv"} | more


def check_same(before: onnx.ModelProto, after: ir.Model, sample: dict[str, np.ndarray]) -> None:
    for name, expected in run(load(before), [sample])[0].items():
        np.testing.assert_allclose(run(after, [sample])[0][name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (3, 1)])
def test_batch_and_length_may_be_dynamic(apply: Apply, sizes: tuple[int, int]) -> None:
    before = attention()
    after = apply("fuse-attention", before)
    assert types(after) == ["Attention"]
    check_same(before, after, feeds(*sizes))


PADDING = {"inputs": {"open": (TensorProto.INT64, ["B", "S"])}, "mask": "bias"}


def padding(low: float) -> dict[str, Any]:
    """A mask as encoders export it: one row for all queries, `low` where a token is padding."""
    return PADDING | {
        "nodes": [
            helper.make_node("Unsqueeze", ["open", "axes"], ["wide"]),
            helper.make_node("Cast", ["wide"], ["asked"], to=TensorProto.BOOL),
            helper.make_node("Where", ["asked", "zero", "low"], ["bias"]),
        ],
        "constants": {
            "axes": np.array([1, 2]),
            "zero": np.array(0, np.float32),
            "low": np.array(low, np.float32),
        },
    }


@pytest.mark.parametrize("low", [-10000.0, FLOAT_MIN])
def test_a_mask_of_padding_gets_a_row_for_each_query_and_keeps_the_mean_of_a_sequence_of_padding(
    apply: Apply, low: float
) -> None:
    before = attention(**padding(low))
    after = apply("fuse-attention", before)
    assert types(after)[-1] == "Attention"
    assert "Expand" in types(after)
    open_ = np.array([[1, 1, 0], [0, 0, 0]])
    check_same(before, after, feeds(2, 3, open=open_))


@pytest.mark.parametrize(
    "case",
    [
        padding(-math.inf),
        {"mask": "bias", "inputs": {"bias": (TensorProto.FLOAT, ["B", 1, "S", "S"])}},
        {"mask": "bias", "constants": {"bias": np.array([[0, -np.inf], [-np.inf, -np.inf]], np.float32)}, "length": 2},
        {"mask": "bias", "constants": {"bias": np.array([[0, np.nan], [0, 0]], np.float32)}, "length": 2},
    ],
    ids=["minus infinity", "an input", "a query without keys", "NaN"],
)
def test_a_mask_that_may_shut_out_every_key_is_left_alone(apply: Apply, case: dict[str, Any]) -> None:
    assert "Attention" not in types(apply("fuse-attention", attention(**case)))


def test_a_constant_mask_that_shuts_out_some_keys_by_infinity_is_taken(apply: Apply) -> None:
    bias = np.array([[0, -np.inf, 1], [0, 0, -np.inf], [-np.inf, 2, 0]], np.float32)
    before = attention("bias", constants={"bias": bias}, length=3)
    after = apply("fuse-attention", before)
    assert types(after) == ["Attention"]
    check_same(before, after, feeds(2, 3))


def apply_proto(apply: Apply, before: onnx.ModelProto) -> onnx.ModelProto:
    """The model with Attention in it."""
    return to_proto(apply("fuse-attention", before))


@pytest.mark.parametrize("low", [-np.inf, FLOAT_MIN, -1e30])
def test_a_triangular_mask_becomes_is_causal_on_request(apply: Apply, low: float) -> None:
    bias = np.triu(np.full((3, 3), low, np.float32), 1)
    before = attention("bias", constants={"bias": bias[None, None]}, length=3)
    after = apply("fuse-causal-mask", apply_proto(apply, before))
    (made,) = after.graph
    assert made.attributes["is_causal"].as_int() == 1
    assert len(made.inputs) == 3
    check_same(before, after, feeds(2, 3))


def test_a_mild_triangular_mask_stays_a_mask(apply: Apply) -> None:
    before = attention("bias", constants={"bias": np.triu(np.full((3, 3), -5, np.float32), 1)}, length=3)
    after = apply("fuse-causal-mask", apply_proto(apply, before))
    assert "is_causal" not in after.graph[0].attributes
    check_same(before, after, feeds(2, 3))


def test_two_masks_are_added(apply: Apply) -> None:
    again = helper.make_node("Add", ["scores", "first"], ["once"])
    before = attention(
        "second", nodes=[again], length=3,
        constants={"first": np.eye(3, dtype=np.float32), "second": np.ones((1, 2, 1, 3), np.float32)},
    )  # fmt: skip
    next(node for node in before.graph.node if node.output == ["masked"]).input[0] = "once"
    after = apply("fuse-attention", before)
    assert types(after)[-1] == "Attention"
    assert "Softmax" not in types(after)
    check_same(before, after, feeds(2, 3))


@pytest.mark.parametrize(
    "case",
    [
        {"opset": 22},
        {"dtype": TensorProto.DOUBLE},
        {"scale": -1.0},
        {"outputs": ("y", "weights")},
        {"inputs": {"k": (TensorProto.FLOAT, [1, 2, "S", 4])}},
        {"inputs": {"k": (TensorProto.FLOAT, ["B", 2, "T", 4]), "v": (TensorProto.FLOAT, ["C", 2, "T", 4])}},
        {"mask": "bias", "constants": {"bias": np.zeros((5, 1, 1, 3), np.float32)}, "length": 3, "batch": 1},
        {"mask": "bias", "constants": {"bias": np.zeros((3, 1), np.float32)}, "length": 3},
    ],
    ids=[
        "old opset", "double", "negative scale", "weights are an output", "one batch of keys", "other batch of values",
        "mask that grows the scores", "mask that is the same for all keys",
    ],
)  # fmt: skip
def test_what_attention_cannot_do_is_left_alone(apply: Apply, case: dict[str, Any]) -> None:
    assert "Attention" not in types(apply("fuse-attention", attention(**case)))


def test_a_mask_that_the_caller_may_override_is_no_constant(apply: Apply) -> None:
    before = attention(
        "bias", length=3, inputs={"bias": (TensorProto.FLOAT, [3, 3])}, constants={"bias": np.zeros((3, 3), np.float32)}
    )
    assert "Attention" not in types(apply("fuse-attention", before))


def test_the_guard_against_nan_is_only_dropped_on_request(apply: Apply) -> None:
    guard = [
        helper.make_node("IsNaN", ["soft"], ["bad"]),
        helper.make_node("Where", ["bad", "zero", "soft"], ["weights"]),
    ]
    before = attention(**padding(-math.inf))
    softmax = next(node for node in before.graph.node if node.op_type == "Softmax")
    softmax.output[0] = "soft"
    place = list(before.graph.node).index(softmax) + 1
    for number, node in enumerate(guard):
        before.graph.node.insert(place + number, node)
    assert "Softmax" in types(apply("fuse-attention", before))
    after = apply("fuse-guarded-attention", before)
    assert "Softmax" not in types(after)
    check_same(before, after, feeds(2, 3, open=np.array([[1, 1, 0], [0, 0, 0]])))


def test_attention_in_the_branch_of_an_if_is_fused(apply: Apply) -> None:
    inner = attention(batch=2, length=3)
    branch = helper.make_graph(inner.graph.node, "then", [], inner.graph.output, inner.graph.initializer)
    other = helper.make_graph([helper.make_node("Identity", ["q"], ["z"])], "else", [], [
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 2, 3, 4])
    ])  # fmt: skip
    choice = helper.make_node("If", ["asked"], ["out"], then_branch=branch, else_branch=other)
    condition = helper.make_tensor_value_info("asked", TensorProto.BOOL, [])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 2, 3, 4])
    graph = helper.make_graph([choice], "g", [condition, *inner.graph.input], [result])
    before = helper.make_model(graph, opset_imports=inner.opset_import, ir_version=10)
    after = apply("fuse-attention", before)
    body = after.graph[0].attributes["then_branch"].as_graph()
    assert [node.op_type for node in body] == ["Attention"]
    check_same(before, after, feeds(2, 3, asked=np.array(True)))


def test_keys_and_values_of_a_cache_keep_their_names_and_their_order(apply: Apply) -> None:
    after = apply(
        "fuse-attention",
        """<ir_version: 10, opset_import: ["": 23]>
        g (float[B, 2, S, 4] q, float[B, 2, S, 4] k, float[B, 2, S, 4] v, float[B, 2, P, 4] pk, float[B, 2, P, 4] pv)
        => (float[B, 2, T, 4] nv, float[B, 2, S, 4] y, float[B, 2, T, 4] nk)
        {
            nk = Concat <axis = -2> (pk, k)
            nv = Concat <axis = 2> (pv, v)
            kt = Transpose <perm = [0, 1, 3, 2]> (nk)
            scores = MatMul (q, kt)
            weights = Softmax (scores)
            y = MatMul (weights, nv)
        }""",
    )
    assert types(after) == ["Attention"]
    assert [value.name for value in after.graph.outputs] == ["nv", "y", "nk"]
    assert [value.index() for value in after.graph.outputs] == [2, 0, 1]


def test_a_causal_attention_keeps_its_concat_since_the_mask_would_move(apply: Apply) -> None:
    after = apply(
        "fuse-attention",
        """<ir_version: 10, opset_import: ["": 23]>
        g (float[1, 2, 3, 4] q, float[1, 2, 2, 4] k, float[1, 2, 2, 4] v, float[1, 2, 1, 4] pk, float[1, 2, 1, 4] pv)
        => (float[1, 2, 3, 4] y)
        {
            nk = Concat <axis = 2> (pk, k)
            nv = Concat <axis = 2> (pv, v)
            y = Attention <is_causal = 1> (q, nk, nv)
        }""",
    )
    assert types(after) == ["Concat", "Concat", "Attention"]


@pytest.mark.parametrize(("shape", "once"), [("1, 2, 2, 6", True), ("1, 2, 3, 4", False)])
def test_keys_are_given_once_where_the_reshape_joins_groups_and_nothing_else(
    apply: Apply, shape: str, once: bool
) -> None:
    width = int(shape[-1])
    repeat = """
            {0}1 = Unsqueeze ({0}, two)
            {0}2 = Expand ({0}1, many)
            {0}3 = Reshape ({0}2, joined)"""
    text = f"""<ir_version: 10, opset_import: ["": 23]>
        g (float[1, 2, 5, {width}] q, float[1, 1, 2, 6] k, float[1, 1, 2, 6] v) => (float[1, 2, 5, {width}] y)
        <int64[1] two = {{2}}, int64[5] many = {{1, 1, 2, 2, 6}}, int64[4] joined = {{{shape}}}>
        {{{repeat.format("k")} {repeat.format("v")}
            kt = Transpose <perm = [0, 1, 3, 2]> (k3)
            scores = MatMul (q, kt)
            weights = Softmax (scores)
            y = MatMul (weights, v3)
        }}"""
    before = onnx.parser.parse_model(text)
    after = apply("fuse-attention", before)
    assert types(after)[-1] == "Attention"
    assert ("Expand" not in types(after)) == once
    sample = {"q": (1, 2, 5, width), "k": (1, 1, 2, 6), "v": (1, 1, 2, 6)}
    rng = np.random.default_rng(1)
    check_same(before, after, {name: rng.standard_normal(size).astype(np.float32) for name, size in sample.items()})
