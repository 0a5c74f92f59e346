from __future__ import annotations

import numpy as np
import pytest

REDUCTIONS = ["Max", "Mean", "Min", "Prod", "Sum", "L1", "L2", "LogSumExp", "SumSquare"]


@pytest.mark.parametrize("axes", [[1], [0, 2], [-1], None])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_agrees_with_axes_as_attribute_and_as_input(one, floats, name, axes, keep):
    x = floats(2, 3, 4)
    one(f"Reduce{name}", {"x": x}, None, opset=12, keepdims=keep, **({} if axes is None else {"axes": axes}))
    one(f"Reduce{name}", {"x": x}, None if axes is None else {"axes": np.asarray(axes)}, opset=18, keepdims=keep)


def test_the_logarithm_of_a_sum_agrees(one, floats):
    one("ReduceLogSum", {"x": np.abs(floats(3, 4))}, opset=12, axes=[1])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keep", [0, 1])
def test_arg_agrees(one, floats, op_type, keep):
    one(op_type, {"x": floats(3, 4, 5)}, axis=1, keepdims=keep)


def test_top_k_agrees(one, floats):
    one("TopK", {"x": floats(3, 8, 2)}, {"k": np.asarray([3])}, axis=1, outputs=2)


@pytest.mark.parametrize(("exclusive", "reverse"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_cumulative_sum_agrees(one, floats, exclusive, reverse):
    one("CumSum", {"x": floats(3, 6)}, {"axis": np.asarray(1)}, exclusive=exclusive, reverse=reverse)


def test_the_last_of_equal_elements_is_declined(declined, floats):
    assert "first of equal" in declined("ArgMax", {"x": floats(3, 4)}, select_last_index=1)
