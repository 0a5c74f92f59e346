"""Upsample and Resize: opset 10 renamed one to the other, opset 11 said how coordinates are counted."""

from __future__ import annotations

import numpy as np

from graphopt_passes.legalize.opset.change import Change
from graphopt_passes.legalize.opset.moves import Adapter

_TF = "tf_half_pixel_for_nn"
_SINCE_19 = ("half_pixel_symmetric",)


def rename(name: str) -> Adapter:
    """An operator that only got another name."""

    def adapt(change: Change) -> None:
        change.node.op_type = name

    return adapt


def resize_10_up(change: Change) -> None:
    """Resize of opset 10 counts as later versions do with `asymmetric`, and takes the pixel at the floor.

    That is what runtimes do where it enlarges. Where it shrinks onnxruntime takes the pixel above.
    """
    scales = change.input(1)
    change.set(coordinate_transformation_mode="asymmetric")
    if change.attribute("mode") == "nearest":
        held = change.content(1)
        assert held is not None
        if (held < 1).any() and (held > 1).any():
            change.refuse("it enlarges one axis and shrinks another, and opset 10 does not say which pixel is nearest")
        change.set(nearest_mode="ceil" if (held < 1).any() else "floor")
    change.set_input(1, np.zeros(0, np.float32))
    change.set_input(2, scales)


def resize_11_down(change: Change) -> None:
    """Resize of opset 10 knows one way of counting and no sizes."""
    if change.attribute("coordinate_transformation_mode") != "asymmetric":
        change.refuse(f"opset 10 cannot count as {change.attribute('coordinate_transformation_mode')}")
    if change.attribute("mode") == "cubic" or change.attribute("exclude_outside"):
        change.refuse("opset 10 has nearest and linear alone")
    if change.input(3) is not None:
        change.refuse("opset 10 takes scales, not sizes")
    if change.attribute("mode") == "nearest":
        held = change.content(2)
        if held is None or change.attribute("nearest_mode") != ("ceil" if (held < 1).any() else "floor"):
            change.refuse("opset 10 cannot say which pixel is nearest")
        if (held < 1).any() and (held > 1).any():
            change.refuse("it enlarges one axis and shrinks another")
    scales = change.input(2)
    change.set_input(2, None)
    change.set_input(1, scales)
    for name in list(change.node.attributes):
        if name != "mode":
            change.set(**{name: None})


def resize_13_up(change: Change) -> None:
    """Inputs that are not used may be left out; the nearest pixel of TensorFlow is said in another way.

    floor((x + ½)/s) is round_prefer_ceil of (x + ½)/s - ½, which is how half_pixel counts.
    """
    for index in (1, 2):
        value = change.input(index)
        if value is not None and value.shape is not None and list(value.shape) == [0]:
            change.set_input(index, None)
    if change.attribute("coordinate_transformation_mode") == _TF:
        if change.attribute("mode") != "nearest" or change.attribute("nearest_mode") != "floor":
            change.refuse(f"opset 13 does not have {_TF}")
        change.set(coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil")


def resize_13_down(change: Change) -> None:
    """Inputs that are left out have to be empty."""
    for index in (1, 2):
        if change.input(index) is None:
            change.set_input(index, np.zeros(0, np.float32))


def resize_18_down(change: Change) -> None:
    """Scales or sizes of some axes, written out for all."""
    axes = change.attribute("axes")
    if axes is None:
        return
    rank, scales, sizes = change.rank(), change.content(2), change.content(3)
    if change.input(1) is not None and change.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        change.refuse("it crops some axes")
    if sizes is not None:
        if change.attribute("keep_aspect_ratio_policy") != "stretch":
            change.refuse("opset 17 cannot keep the aspect ratio")
        shape = change.shape() or ()
        whole = [dim if isinstance(dim, int) else None for dim in shape]
        for axis, size in zip(axes, sizes, strict=True):
            whole[axis] = int(size)
        if None in whole:
            change.refuse("the sizes of the axes that it leaves alone are not known")
        change.set_input(3, np.array(whole, np.int64))
    if scales is not None and scales.size:
        factors = np.ones(rank, np.float32)
        factors[list(axes)] = scales
        change.set_input(2, factors)
    change.set(axes=None)


def resize_19_down(change: Change) -> None:
    """Ways of counting that opset 19 added."""
    if change.attribute("coordinate_transformation_mode") in _SINCE_19:
        change.refuse(f"opset 18 cannot count as {change.attribute('coordinate_transformation_mode')}")


UP: dict[tuple[str, int], Adapter] = {
    ("Upsample", 10): rename("Resize"), ("Resize", 11): resize_10_up, ("Resize", 13): resize_13_up,
}  # fmt: skip
DOWN: dict[tuple[str, int], Adapter] = {
    ("Resize", 10): rename("Upsample"), ("Resize", 11): resize_11_down, ("Resize", 13): resize_13_down,
    ("Resize", 18): resize_18_down, ("Resize", 19): resize_19_down,
}  # fmt: skip
