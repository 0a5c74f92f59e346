from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import helper

MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDING = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("transform", MODES)
@pytest.mark.parametrize("rounding", ROUNDING)
@pytest.mark.parametrize("sizes", [(8, 10), (3, 7), (2, 1)])
def test_nearest_agrees_on_every_grid(one, floats, transform, rounding, sizes):
    x = {"x": floats(1, 2, 4, 5)}
    constants = {"sizes": np.asarray([1, 2, *sizes])}
    attributes = {"coordinate_transformation_mode": transform, "nearest_mode": rounding, "mode": "nearest"}
    one("Resize", x, constants, order=["x", "", "", "sizes"], **attributes)


@pytest.mark.parametrize(("transform", "sizes"), list(itertools.product(MODES, [(8, 10), (3, 7), (2, 5)])))
def test_linear_agrees_where_it_is_taken(one, floats, transform, sizes):
    x, constants = {"x": floats(1, 2, 4, 5)}, {"sizes": np.asarray([1, 2, *sizes])}
    one("Resize", x, constants, order=["x", "", "", "sizes"], coordinate_transformation_mode=transform, mode="linear")


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_scales_are_read_in_every_opset(one, floats, opset, mode):
    x, scales = {"x": floats(1, 2, 4, 5)}, np.asarray([1, 1, 2, 2], np.float32)
    if opset == 7:
        one("Upsample", x, opset=7, scales=scales.tolist(), mode=mode)
    elif opset < 11:
        one("Upsample" if opset == 9 else "Resize", x, {"scales": scales}, opset=opset, mode=mode)
    else:
        roi = np.zeros(0, np.float32)
        one("Resize", x, {"roi": roi, "scales": scales}, opset=opset, mode=mode)


def test_what_litert_samples_elsewhere_is_declined_with_the_grid(lowered, model, floats):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="it", mode="linear")
    x = {"x": floats(1, 2, 4, 5)}
    made = lowered(model([node], x, {"s": np.asarray([1, 1, 0.7, 0.7], np.float32)}))
    assert "half_pixel from 4 to 2 elements at scale 0.7" in made.issues[0].reason
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="it", mode="cubic")
    made = lowered(model([node], x, {"s": np.asarray([1, 1, 2, 2], np.float32)}))
    assert "'cubic'" in made.issues[0].reason
