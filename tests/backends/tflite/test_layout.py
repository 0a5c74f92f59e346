from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.regroup import regroup

permutations = st.integers(1, 5).flatmap(lambda rank: st.permutations(range(rank))).map(tuple)


@given(permutations, st.data())
def test_a_transposed_layout_stores_the_transposed_value(where, data):
    rank = len(where)
    perm = tuple(data.draw(st.permutations(range(rank))))
    value = np.arange(math.prod(range(2, rank + 2))).reshape(range(2, rank + 2))
    after = layout.transposed(where, perm)
    np.testing.assert_array_equal(np.transpose(np.transpose(value, perm), after), np.transpose(value, where))


@given(permutations, st.data())
def test_between_takes_one_layout_to_another(have, data):
    want = tuple(data.draw(st.permutations(range(len(have)))))
    value = np.arange(math.prod(range(2, len(have) + 2))).reshape(range(2, len(have) + 2))
    moved = np.transpose(np.transpose(value, have), layout.between(have, want))
    np.testing.assert_array_equal(moved, np.transpose(value, want))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.data())
def test_moving_only_axes_of_length_one_moves_no_data(shape, data):
    perm = tuple(data.draw(st.permutations(range(len(shape)))))
    value = np.arange(math.prod(shape)).reshape(shape)
    same = np.array_equal(np.transpose(value, perm).reshape(-1), value.reshape(-1))
    assert same or layout.moves_data(shape, perm)


@st.composite
def reshapes(draw):
    """Two shapes of as many elements, and a layout of the first."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=6))

    def grouped():
        shape = [1]
        for factor in factors:
            if draw(st.booleans()):
                shape.append(factor)
            else:
                shape[-1] *= factor
        return tuple(shape)

    before, after = grouped(), grouped()
    return before, after, tuple(draw(st.permutations(range(len(before)))))


@settings(max_examples=300, deadline=None)
@given(reshapes())
def test_a_regrouped_layout_stores_the_reshaped_value(case):
    before, after, where = case
    found = regroup(before, after, where)
    if found is None:
        assert where != layout.identity(len(before))
        return
    value = np.arange(math.prod(before)).reshape(before)
    stored = np.transpose(value, where).reshape(-1)
    np.testing.assert_array_equal(np.transpose(value.reshape(after), found).reshape(-1), stored)


def test_merging_height_and_width_keeps_channels_last():
    assert regroup((2, 3, 4, 5), (2, 3, 20), (0, 2, 3, 1)) == (0, 2, 1)
    assert regroup((2, 3, 4, 5), (2, 60), (0, 2, 3, 1)) is None


def residual(floats):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["f"]),
        helper.make_node("Mul", ["d", "f"], ["g"]),
        helper.make_node("Concat", ["g", "b"], ["y"], axis=1),
    ]
    return nodes, {"x": floats(1, 3, 8, 8)}, {"w": floats(4, 3, 3, 3), "v": floats(4, 4, 3, 3)}


def test_a_convolutional_net_is_transposed_at_its_borders_only(agrees, model, floats):
    nodes, inputs, constants = residual(floats)
    builtins = agrees(model(nodes, inputs, constants), inputs)
    assert [position for position, name in enumerate(builtins) if name == "TRANSPOSE"] == [0, len(builtins) - 1]


def test_a_net_that_takes_and_gives_channels_last_has_no_transpose(agrees, model, floats):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
    ]
    inputs = {"x": floats(1, 8, 8, 3)}
    assert agrees(model(nodes, inputs, {"w": floats(4, 3, 3, 3)}), inputs) == ["CONV_2D"]


def test_a_value_read_twice_in_another_layout_is_converted_once(agrees, model, floats):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
        helper.make_node("Reshape", ["c", "flat"], ["b"]),
        helper.make_node("Tanh", ["b"], ["z"]),
    ]
    inputs = {"x": floats(1, 3, 6, 6)}
    constants = {"w": floats(4, 3, 3, 3), "flat": np.asarray([1, 64])}
    assert agrees(model(nodes, inputs, constants, ["y", "z"]), inputs).count("TRANSPOSE") == 2


@st.composite
def followers(draw):
    """A chain of operators that follow a layout, after a convolution of [2, 4, 5, 6]."""
    shape, nodes, constants = [2, 4, 5, 6], [], {}
    for step in range(draw(st.integers(1, 5))):
        source, target, rank = f"v{step}", f"v{step + 1}", len(shape)
        axis = draw(st.integers(0, rank - 1)) if rank else 0
        kind = draw(
            st.sampled_from(
                ["Transpose", "Reshape", "Concat", "Slice", "Softmax", "Mean", "Add", "Gather", "Merge", "Self"]
            )
        )
        if not rank:
            kind = "Add"
        if kind == "Transpose":
            perm = draw(st.permutations(range(rank)))
            nodes.append(helper.make_node("Transpose", [source], [target], perm=perm))
            shape = [shape[i] for i in perm]
        elif kind in ("Reshape", "Merge"):
            wanted = [math.prod(shape[:axis]), *shape[axis:]] if kind == "Merge" else [*shape[:axis], 1, *shape[axis:]]
            if len(wanted) > 5:
                wanted = [math.prod(shape)]
            constants[f"c{step}"] = np.asarray(wanted, np.int64)
            nodes.append(helper.make_node("Reshape", [source, f"c{step}"], [target]))
            shape = wanted
        elif kind == "Concat":
            constants[f"c{step}"] = np.ones(shape, np.float32)
            nodes.append(helper.make_node("Concat", [source, f"c{step}"], [target], axis=axis))
            shape = [2 * dim if i == axis else dim for i, dim in enumerate(shape)]
        elif kind == "Slice":
            length = (shape[axis] + 1) // 2
            for name, number in (("s", 0), ("e", length), ("a", axis)):
                constants[f"{name}{step}"] = np.asarray([number], np.int64)
            nodes.append(helper.make_node("Slice", [source, f"s{step}", f"e{step}", f"a{step}"], [target]))
            shape = [length if i == axis else dim for i, dim in enumerate(shape)]
        elif kind == "Softmax":
            nodes.append(helper.make_node("Softmax", [source], [target], axis=axis))
        elif kind == "Mean":
            keep = draw(st.integers(0, 1))
            nodes.append(helper.make_node("ReduceMean", [source], [target], axes=[axis], keepdims=keep))
            shape = [1 if i == axis else dim for i, dim in enumerate(shape) if keep or i != axis]
        elif kind == "Gather":
            constants[f"c{step}"] = np.asarray([0, -1], np.int64)
            nodes.append(helper.make_node("Gather", [source, f"c{step}"], [target], axis=axis))
            shape = [2 if i == axis else dim for i, dim in enumerate(shape)]
        elif kind == "Self":
            nodes.append(helper.make_node("Mul", [source, source], [target]))
        else:
            some = shape[axis:] if rank else []
            constants[f"c{step}"] = np.linspace(0, 1, max(math.prod(some), 1), dtype=np.float32).reshape(some)
            nodes.append(helper.make_node("Add", [source, f"c{step}"], [target]))
    return nodes, constants


@settings(max_examples=150, deadline=None)
@given(followers())
def test_operators_that_follow_a_layout_agree_in_any_order(agrees, model, floats, chain):
    nodes, constants = chain
    conv = helper.make_node("Conv", ["x", "w"], ["v0"], pads=[1, 1, 1, 1])
    inputs = {"x": floats(2, 3, 5, 6)}
    output = nodes[-1].output[0]
    agrees(model([conv, *nodes], inputs, {**constants, "w": floats(4, 3, 3, 3)}, [output]), inputs)


@pytest.mark.parametrize("perm", [(0, 2, 3, 1), (3, 2, 1, 0)])
def test_a_channel_vector_broadcasts_in_every_layout(agrees, model, floats, perm):
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=perm), helper.make_node("Mul", ["t", "c"], ["y"])]
    inputs = {"x": floats(2, 3, 4, 5)}
    shape = tuple(inputs["x"].shape[axis] for axis in perm)
    agrees(model(nodes, inputs, {"c": floats(shape[2], 1)}), inputs)
