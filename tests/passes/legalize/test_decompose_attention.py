"""Attention written out computes what the standard says, also where onnxruntime's own kernel does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.verify import run

Apply = Callable[..., ir.Model]
RNG = np.random.default_rng(7)
KINDS = {"f": onnx.TensorProto.FLOAT, "b": onnx.TensorProto.BOOL, "i": onnx.TensorProto.INT64}


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def model(
    inputs: dict[str, np.ndarray | None], opset: int, *, outputs: int = 1, dynamic: bool = False, **attributes: Any
) -> onnx.ModelProto:
    """One Attention; `dynamic` leaves batch and numbers of queries and keys open."""
    given = {name: array for name, array in inputs.items() if array is not None}
    infos = []
    for name, array in given.items():
        shape: list[Any] = list(array.shape)
        if dynamic and name in ("q", "k", "v"):
            shape[0], shape[-2] = "B", "Q" if name == "q" else "K"
        infos.append(helper.make_tensor_value_info(name, KINDS[array.dtype.kind], shape))
    made = ["y", "pk", "pv", "qk"][:outputs]
    names = [name if array is not None else "" for name, array in inputs.items()]
    node = helper.make_node("Attention", names, made, **attributes)
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in made]
    for result in results:
        for _ in range(next(iter(given.values())).ndim):
            result.type.tensor_type.shape.dim.add()
    graph = helper.make_graph([node], "g", infos, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def check(apply: Apply, inputs: dict[str, np.ndarray | None], opset: int, **more: Any) -> ir.Model:
    before = model(inputs, opset, **more)
    given = {name: array for name, array in inputs.items() if array is not None}
    expected = onnx.reference.ReferenceEvaluator(before).run(None, given)
    after = apply("decompose-attention", before)
    assert "Attention" not in [node.op_type for node in after.graph]
    for wanted, actual in zip(expected, run(after, [given])[0].values(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
    return after


def qkv(queries: int = 3, keys: int = 5, heads: int = 4, groups: int = 2) -> dict[str, np.ndarray | None]:
    return {"q": normal(2, heads, queries, 4), "k": normal(2, groups, keys, 4), "v": normal(2, groups, keys, 6)}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("queries", [3, 5, 6])
def test_causal_attention_counts_from_the_first_key(apply: Apply, queries: int, dynamic: bool) -> None:
    check(apply, qkv(queries), 23, is_causal=1, dynamic=dynamic)


def test_a_query_without_any_key_answers_zero(apply: Apply) -> None:
    mask = np.array([[True] * 5, [False] * 5, [True, False, True, False, False]])
    after = check(apply, qkv() | {"mask": mask}, 23)
    given = qkv() | {"mask": mask}
    assert not run(after, [given])[0]["y"][:, :, 1].any()


def test_a_bias_that_may_shut_out_every_key_is_guarded_and_a_constant_one_that_does_not_is_not(apply: Apply) -> None:
    bias = np.where([[True] * 5, [False] * 5, [False] * 4 + [True]], 0, -np.inf).astype(np.float32)
    after = check(apply, qkv() | {"mask": bias}, 23)
    assert "ReduceMax" in [node.op_type for node in after.graph]
    before = model(qkv() | {"mask": bias}, 23)
    kept = before.graph.input.pop()
    before.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((3, 5), np.float32), kept.name))
    assert "ReduceMax" not in [node.op_type for node in apply("decompose-attention", before).graph]


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("dynamic", [False, True])
def test_keys_beyond_those_that_are_valid_are_shut_out(apply: Apply, causal: int, dynamic: bool) -> None:
    nonpad = {"mask": None, "pk": None, "pv": None, "nonpad": np.array([5, 2])}
    check(apply, qkv() | nonpad, 24, is_causal=causal, dynamic=dynamic)


@pytest.mark.parametrize(("left", "right"), [(1, -1), (-1, 0), (1, 1), (0, 0)])
def test_windows_of_opset_25(apply: Apply, left: int, right: int) -> None:
    check(apply, qkv(4, 6), 25, left_window_size=left, right_window_size=right)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_past_present_and_scores(apply: Apply, mode: int) -> None:
    past = {"mask": None, "past_k": normal(2, 2, 2, 4), "past_v": normal(2, 2, 2, 6)}
    softcap = 2.0 if mode else 0.0  # onnx.reference shows mode 0 behind the softcap, the standard before
    check(apply, qkv(3, 3) | past, 23, outputs=4, is_causal=1, softcap=softcap, qk_matmul_output_mode=mode)


def test_heads_in_one_axis(apply: Apply) -> None:
    inputs = {"q": normal(2, 3, 16), "k": normal(2, 5, 8), "v": normal(2, 5, 6)}
    check(apply, inputs, 23, q_num_heads=4, kv_num_heads=2, dynamic=True)


def test_a_precision_of_softmax_that_its_rounded_result_does_not_show_is_left_out(apply: Apply) -> None:
    after = check(apply, qkv(), 23, softmax_precision=int(onnx.TensorProto.DOUBLE))
    assert "Cast" not in [node.op_type for node in after.graph]
