"""Normalizations, losses and index makers written out, where the shared property test does not reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt.ir import infer_shapes, load
from graphopt.rewrite import apply_rules
from graphopt.testing import registered_rules
from graphopt.verify import run

RULES = {str(one): one.rule for one in registered_rules()}


def one_node(
    node: Any, inputs: dict[str, np.ndarray], constants: dict[str, np.ndarray], opset: int, kinds: dict[str, int]
) -> Any:
    def told(name: str, array: np.ndarray) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    graph = helper.make_graph(
        [node],
        "one",
        [told(name, array) for name, array in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written_out(
    rule: str,
    node: Any,
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    kinds: dict[str, int] | None = None,
) -> dict[str, np.ndarray]:
    changed = load(one_node(node, inputs, constants or {}, opset, kinds or {"y": TensorProto.FLOAT}))
    infer_shapes(changed)
    assert apply_rules(changed, [RULES[rule]]).rewrites
    assert all(made.op_type != node.op_type for made in changed.graph)
    [found] = run(changed, [inputs])
    return dict(found)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_a_scale_for_each_group_is_the_scale_of_each_of_its_channels() -> None:
    x, scale, bias = normal(2, 4, 3, 3), np.array([2, 3], np.float32), np.array([-1, 1], np.float32)
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2, epsilon=1e-5)
    proto = one_node(node, {"x": x, "s": scale, "b": bias}, {}, 18, {"y": TensorProto.FLOAT})
    changed = load(proto)
    infer_shapes(changed)
    rules = ["decompose-computed-norms/scale-behind-group-norm", "decompose-instance-norm/write-out-group-norm"]
    assert len(apply_rules(changed, [RULES[name] for name in rules]).rewrites) == 2
    grouped = x.reshape(2, 2, -1)
    plain = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    expected = (plain * scale[:, None] + bias[:, None]).reshape(x.shape)
    [found] = run(changed, [{"x": x, "s": scale, "b": bias}])
    np.testing.assert_allclose(found["y"], expected, atol=1e-5)


def test_before_opset_13_hardmax_marks_one_element_of_all_axes_from_its_own_on() -> None:
    x = normal(2, 3, 4)
    node = helper.make_node("Hardmax", ["x"], ["y"], axis=1)
    found = written_out("decompose-one-hot/mark-the-largest", node, {"x": x}, opset=11)["y"]
    expected = np.zeros((2, 12), np.float32)
    expected[np.arange(2), x.reshape(2, -1).argmax(1)] = 1
    np.testing.assert_array_equal(found, expected.reshape(x.shape))


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_loss_of_many_axes_of_positions_is_computed_over_one(reduction: str) -> None:
    x, target = normal(2, 3, 2, 2, 1, 2, 2), np.arange(32).reshape(2, 2, 2, 1, 2, 2) % 3
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y", "p"], reduction=reduction)
    kinds = {"y": TensorProto.FLOAT, "p": TensorProto.FLOAT}
    found = written_out("decompose-losses/log-softmax-first-2", node, {"x": x}, {"t": target}, kinds=kinds)
    logarithms = x - np.log(np.exp(x).sum(1, keepdims=True))
    loss = -np.take_along_axis(logarithms, target[:, None], 1)[:, 0]
    np.testing.assert_allclose(found["y"], loss if reduction == "none" else loss.mean(), atol=1e-5)
    np.testing.assert_allclose(found["p"], logarithms, atol=1e-5)


@pytest.mark.parametrize("size", [2, 4])
def test_an_even_window_of_channels_has_one_more_behind(size: int) -> None:
    x = normal(1, 6, 2, 2)
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.5, beta=0.75, bias=1.0)
    found = written_out("decompose-variance-norm/write-out-lrn", node, {"x": x})["y"]
    before, behind = (size - 1) // 2, size // 2
    total = np.stack([(x[:, max(0, c - before) : c + behind + 1] ** 2).sum(1) for c in range(6)], 1)
    np.testing.assert_allclose(found, x / (1 + 0.5 / size * total) ** 0.75, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_equal_elements_rank_by_their_place(dtype: Any) -> None:
    x = np.array([[2, 2, 1, 2], [0, 0, 0, 0]], dtype)
    node = helper.make_node("TopK", ["x", "k"], ["y", "i"])
    kinds = {"y": helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), "i": TensorProto.INT64}
    found = written_out("decompose-top-k/one-after-another", node, {"x": x}, {"k": np.array([3])}, kinds=kinds)
    np.testing.assert_array_equal(found["i"], [[0, 1, 3], [0, 1, 2]])
    np.testing.assert_array_equal(found["y"], [[2, 2, 2], [0, 0, 0]])


@pytest.mark.parametrize(("limit", "expected"), [(2.0, [1.0, 1.5]), (1.0, []), (0.0, [])])
def test_a_range_of_floats_may_have_no_numbers(limit: float, expected: list[float]) -> None:
    given = {"a": np.array(1, np.float32), "b": np.array(limit, np.float32)}
    proto = one_node(
        helper.make_node("Range", ["a", "b", "c"], ["y"]), given, {"c": np.array(0.5, np.float32)}, 17,
        {"y": TensorProto.FLOAT},
    )  # fmt: skip
    changed = load(proto)
    infer_shapes(changed)
    assert apply_rules(changed, [RULES["decompose-counting/count-in-integers"]]).rewrites
    [found] = run(changed, [given])
    np.testing.assert_array_equal(found["y"], np.array(expected, np.float32))


def test_a_reduction_over_no_axes_still_squares() -> None:
    x = normal(2, 3)
    node = helper.make_node("ReduceSumSquare", ["x"], ["y"], noop_with_empty_axes=1)
    found = written_out("decompose-rare-reductions/reduce-nothing", node, {"x": x}, opset=18)["y"]
    np.testing.assert_array_equal(found, x * x)


def test_categories_that_are_named_twice_are_left_to_the_runtime() -> None:
    node = helper.make_node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_int64s=[0, 1, 1], zeros=1)
    proto = one_node(node, {"x": np.array([1, 0])}, {}, 17, {"y": TensorProto.FLOAT})
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model = load(proto)
    infer_shapes(model)
    assert not apply_rules(model, [RULES["decompose-features/one-hot-features"]]).rewrites
