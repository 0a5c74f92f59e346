from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st


@st.composite
def poolings(draw):
    """Lengths of the input's spatial axes and attributes of a pooling."""
    rank = draw(st.integers(1, 3))
    each = lambda low, high: draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))  # noqa: E731
    lengths, kernel, strides = each(5, 8), each(1, 4), each(1, 3)
    pads = [draw(st.integers(0, size - 1)) for size in kernel * 2]
    ceil = draw(st.integers(0, 1))
    for axis, length in enumerate(lengths):
        # ONNX's shape inference and onnxruntime count a last window that starts in the padding differently.
        last = -(-(length + pads[axis] + pads[rank + axis] - kernel[axis]) // strides[axis]) * strides[axis]
        assume(not ceil or last < length + pads[axis])
    return lengths, {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": ceil}


@settings(max_examples=60, deadline=None)
@given(poolings())
def test_max_pool_agrees_for_any_window(one, floats, pooling):
    lengths, attributes = pooling
    one("MaxPool", {"x": floats(2, 3, *lengths) - 5}, **attributes)


@settings(max_examples=60, deadline=None)
@given(poolings(), st.integers(0, 1))
def test_average_pool_agrees_for_any_window(one, floats, pooling, include):
    lengths, attributes = pooling
    one("AveragePool", {"x": floats(2, 3, *lengths)}, opset=19, count_include_pad=include, **attributes)


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_pooling_agrees_under_auto_pad(one, floats, op_type, auto):
    one(op_type, {"x": floats(1, 3, 9, 10)}, kernel_shape=[3, 2], strides=[2, 2], auto_pad=auto)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 4), (1, 2, 3, 4, 5)])
def test_global_pooling_is_one_reduction(one, floats, op_type, shape):
    assert len(one(op_type, {"x": floats(*shape)})) == 1


def test_a_pooling_that_same_padding_holds_needs_no_pad(one, floats):
    builtins = one("MaxPool", {"x": floats(1, 3, 8, 8)}, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert builtins == ["TRANSPOSE", "MAX_POOL_2D", "TRANSPOSE"]


def test_dilated_and_indexed_max_pools_are_declined(declined, floats):
    assert "dilations" in declined("MaxPool", {"x": floats(1, 2, 8, 8)}, kernel_shape=[2, 2], dilations=[2, 2])
    assert "Indices" in declined("MaxPool", {"x": floats(1, 2, 8, 8)}, kernel_shape=[2, 2], outputs=2)
