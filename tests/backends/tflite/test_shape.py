from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("opset", [9, 11, 13])
@pytest.mark.parametrize("op_type", ["Squeeze", "Unsqueeze"])
def test_axes_are_read_from_attribute_and_input(one, floats, op_type, opset):
    x, axes = floats(2, 1, 3, 1), [1, 3]
    if opset < 13:
        one(op_type, {"x": x}, opset=opset, axes=axes)
    else:
        one(op_type, {"x": x}, {"axes": np.asarray(axes)}, opset=opset)


@st.composite
def slices(draw):
    shape = draw(st.lists(st.integers(2, 6), min_size=1, max_size=5))
    parts = []
    for axis, dim in enumerate(shape):
        start, end = draw(st.integers(-dim - 1, dim + 1)), draw(st.integers(-dim - 1, dim + 1))
        step = draw(st.sampled_from([1, 1, 2, -1, -2]))
        if draw(st.booleans()) and len(range(*slice(start, end, step).indices(dim))):
            parts.append((start, end, axis, step))
    return shape, parts or [(0, 2, 0, 1)]


@settings(max_examples=60, deadline=None)
@given(slices())
def test_slice_agrees_for_any_start_end_and_step(one, floats, case):
    shape, parts = case
    names = ("starts", "ends", "axes", "steps")
    one(
        "Slice", {"x": floats(*shape)}, {n: np.asarray(v) for n, v in zip(names, zip(*parts, strict=True), strict=True)}
    )


def test_slice_by_attributes_agrees(one, floats):
    one("Slice", {"x": floats(4, 5)}, opset=9, starts=[1, 0], ends=[9, -1], axes=[0, 1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 1, 2, 1, 0, 2], [-1, 0, 1, 0, -1, 1]])
def test_pad_agrees_in_every_mode(one, floats, mode, pads):
    one("Pad", {"x": floats(3, 4, 5)}, {"pads": np.asarray(pads)}, opset=19, mode=mode)


def test_pad_reads_value_and_axes(one, floats):
    constants = {"pads": np.asarray([1, 2, 0, 1]), "value": np.float32(1.5), "axes": np.asarray([2, 0])}
    one("Pad", {"x": floats(3, 4, 5)}, constants, opset=18)
    one("Pad", {"x": floats(3, 4)}, opset=7, pads=[1, 0, 0, 2], value=-2.0)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [[[0, -1], [1, 1]], [2], 0])
def test_gather_agrees_with_constant_and_computed_indices(one, floats, axis, indices):
    array = np.asarray(indices)
    one("Gather", {"x": floats(3, 4, 5)}, {"i": array}, axis=axis)
    one("Gather", {"x": floats(3, 4, 5), "i": array}, axis=axis)


def test_gather_nd_counts_negative_indices_from_the_end(one, floats):
    indices = np.asarray([[0, -1], [2, 1]])
    one("GatherND", {"x": floats(3, 4, 5)}, {"i": indices})
    one("GatherND", {"x": floats(3, 4, 5), "i": indices})


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_agrees(one, floats, mode):
    one("DepthToSpace", {"x": floats(2, 12, 3, 4)}, blocksize=2, mode=mode)


def test_space_to_depth_agrees(one, floats):
    one("SpaceToDepth", {"x": floats(2, 3, 4, 6)}, blocksize=2)


@pytest.mark.parametrize("sizes", [[2, 2], [1, 3]])
def test_split_agrees(one, floats, sizes):
    one("Split", {"x": floats(3, 4)}, {"sizes": np.asarray(sizes)}, outputs=2, axis=1)
    one("Split", {"x": floats(3, 4)}, opset=11, outputs=2, axis=1, split=sizes)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("to", [1, 6, 7, 9])
def test_cast_agrees(one, dtype, to):
    one("Cast", {"x": np.asarray([0, 1, 2, 100, 0]).astype(dtype)}, to=to)


def test_expand_and_tile_agree(one, floats):
    one("Expand", {"x": floats(3, 1)}, {"shape": np.asarray([2, 3, 4])})
    one("Tile", {"x": floats(2, 3)}, {"repeats": np.asarray([2, 3])})


def test_a_static_shape_is_a_constant(one, floats):
    assert one("Shape", {"x": floats(2, 3, 4)}, opset=15, start=1) == ["RESHAPE"]


def test_flatten_and_transpose_agree(one, floats):
    one("Flatten", {"x": floats(2, 3, 4)}, axis=2)
    one("Transpose", {"x": floats(2, 3, 4, 5, 2)}, perm=[4, 0, 3, 1, 2])


def test_a_slice_whose_start_is_computed_is_declined(declined, floats):
    assert "starts (input 1) must be a constant" in declined(
        "Slice", {"x": floats(4), "s": np.asarray([1])}, {"e": np.asarray([3])}
    )
