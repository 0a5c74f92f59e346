"""Pooling with ceil_mode: opset 22 drops a last window that would start in the padding."""

from __future__ import annotations

from graphopt_passes.legalize.opset.change import Change
from graphopt_passes.legalize.opset.moves import Adapter


def same_windows(change: Change) -> None:
    """Only where no last window starts in the padding do both mean the same.

    With o = ceil((size + pads - reach) / stride) + 1 windows (the operators' own formula), the last one starts at
    (o - 1) stride, which lies before the end of the data for any size where reach >= stride + the padding behind.
    """
    if not change.attribute("ceil_mode"):
        return
    kernel = change.attribute("kernel_shape")
    if change.attribute("auto_pad") not in (None, "NOTSET"):
        return
    axes = len(kernel)
    strides = change.attribute("strides") or [1] * axes
    dilations = change.attribute("dilations") or [1] * axes
    pads = change.attribute("pads") or [0] * 2 * axes
    shape = change.shape()
    for axis in range(axes):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if reach >= strides[axis] + pads[axis + axes]:
            continue
        size = None if shape is None else shape[axis + 2]
        if not isinstance(size, int):
            change.refuse("its last window may start in the padding (ceil_mode), which opset 22 defines anew")
        before, after = pads[axis], pads[axis + axes]
        windows = -(-(size + before + after - reach) // strides[axis]) + 1
        if (windows - 1) * strides[axis] >= size + before:
            change.refuse("its last window starts in the padding (ceil_mode), which opset 22 defines anew")


UP: dict[tuple[str, int], Adapter] = {(op, 22): same_windows for op in ("MaxPool", "AveragePool", "LpPool")}
DOWN = dict(UP)
