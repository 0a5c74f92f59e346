from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3, 4, 5), 1), ((2, 3, 4, 5), -1), ((4, 5), 0), ((2, 3, 2, 2, 3), 2), ((5,), 0)]
)
def test_softmax_agrees_on_any_axis(one, floats, op_type, opset, shape, axis):
    one(op_type, {"x": 3 * floats(*shape)}, opset=opset, axis=axis)


@pytest.mark.parametrize("computed", [False, True])
def test_batch_normalization_agrees(one, floats, computed):
    statistics = {"s": floats(3), "b": floats(3) + 1, "m": floats(3) * 2, "v": np.abs(floats(3)) + 0.5}
    x = {"x": floats(2, 3, 4, 5)}
    one("BatchNormalization", {**x, **statistics} if computed else x, None if computed else statistics)


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization_agrees(one, floats, axis):
    shape = (4, 5) if axis == 1 else (5,)
    one("LayerNormalization", {"x": floats(3, 4, 5)}, {"s": floats(*shape), "b": floats(*shape)}, axis=axis)


def test_instance_group_and_response_normalization_agree(one, floats):
    one("InstanceNormalization", {"x": floats(2, 3, 4, 5)}, {"s": floats(3), "b": floats(3)})
    one("LRN", {"x": floats(1, 7, 4, 5)}, size=5, alpha=0.3, beta=0.6, bias=1.5)
    one("LpNormalization", {"x": floats(3, 4)}, p=2, axis=1)
    one("MeanVarianceNormalization", {"x": floats(2, 3, 4, 5)}, opset=9)
    one("GroupNormalization", {"x": floats(2, 6, 4, 5)}, {"s": floats(6), "b": floats(6)}, opset=21, num_groups=3)


def test_an_even_response_window_is_declined(declined, floats):
    assert "even size" in declined("LRN", {"x": floats(1, 7, 4, 5)}, size=4)
