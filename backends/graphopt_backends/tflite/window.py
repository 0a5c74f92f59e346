"""Arithmetic of sliding windows, shared by convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from ai_edge_litert.schema_py_generated import Padding

from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import integer, integers, text
from graphopt_backends.tflite.registry import Decline

SAME: int = Padding.SAME
VALID: int = Padding.VALID


@dataclass(frozen=True)
class Window:
    """A window over spatial axes; every field has an entry an axis.

    Attributes:
        kernel: length in elements.
        stride: step.
        dilation: distance of neighboring elements.
        begin: padding before.
        end: padding after, as the model states it.
        ceil: whether a last, partial step counts.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    ceil: bool = False

    def span(self, axis: int) -> int:
        """How many elements of the input one window covers, gaps included."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def output(self, axis: int, length: int) -> int:
        """Length of the output on spatial `axis`; a window that would start in the padding after is dropped."""
        room = length + self.begin[axis] + self.end[axis] - self.span(axis)
        steps = -(-room // self.stride[axis]) if self.ceil else room // self.stride[axis]
        if self.ceil and steps * self.stride[axis] >= length + self.begin[axis]:
            steps -= 1
        return steps + 1

    def needed_end(self, axis: int, length: int) -> int:
        """Padding after that the last window really reaches; negative where the input is not used up."""
        last = (self.output(axis, length) - 1) * self.stride[axis] + self.span(axis)
        return last - length - self.begin[axis]

    def is_same(self, lengths: Sequence[int]) -> bool:
        """Whether TFLite's SAME padding (the odd element after) is this window's padding."""
        for axis, length in enumerate(lengths):
            output = -(-length // self.stride[axis])
            total = max((output - 1) * self.stride[axis] + self.span(axis) - length, 0)
            if self.output(axis, length) != output or self.begin[axis] != total // 2:
                return False
            if max(self.needed_end(axis, length), 0) != total - total // 2:
                return False
        return True

    def is_valid(self, lengths: Sequence[int]) -> bool:
        """Whether no padding is reached."""
        return not any(self.begin) and all(self.needed_end(axis, n) <= 0 for axis, n in enumerate(lengths))

    def covered(self, axis: int, length: int, include_padding: bool) -> np.ndarray:
        """How many elements each window averages over, of shape [output]."""
        starts = np.arange(self.output(axis, length)) * self.stride[axis] - self.begin[axis]
        taps = starts[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
        before, after = (self.begin[axis], self.end[axis]) if include_padding else (0, 0)
        return np.asarray(((taps >= -before) & (taps < length + after)).sum(1))


def window_of(node: ir.Node, kernel: Sequence[int], lengths: Sequence[int]) -> Window:
    """The window of a convolution or pooling over spatial axes of `lengths`.

    Raises:
        Decline: a padding is negative.
    """
    rank = len(kernel)
    stride = tuple(integers(node, "strides") or [1] * rank)
    dilation = tuple(integers(node, "dilations") or [1] * rank)
    pads = integers(node, "pads") or [0] * (2 * rank)
    auto = text(node, "auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        pads = _same_pads(auto, kernel, stride, dilation, lengths)
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    if min(pads, default=0) < 0:
        raise Decline(f"negative padding {pads}")
    ceil = bool(integer(node, "ceil_mode", 0)) and not auto.startswith("SAME")
    return Window(tuple(kernel), stride, dilation, tuple(pads[:rank]), tuple(pads[rank:]), ceil)


def _same_pads(
    auto: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], lengths: Sequence[int]
) -> list[int]:
    begin, end = [], []
    for length, size, step, gap in zip(lengths, kernel, stride, dilation, strict=True):
        total = max((-(-length // step) - 1) * step + (size - 1) * gap + 1 - length, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if auto == "SAME_UPPER" else large)
        end.append(large if auto == "SAME_UPPER" else small)
    return begin + end


def pad_spatial(e: Emitter, x: int, window: Window, value: float | None = None) -> tuple[int, int]:
    """Pad a tensor stored channels last as `window` needs.

    Args:
        e: the emitter.
        x: tensor of shape [N, spatial…, C].
        window: whose padding is wanted.
        value: what to pad with; None stands for 0 where LiteRT's own SAME padding serves too.

    Returns:
        The tensor, and the padding (SAME or VALID) under which the builtin finds the same windows.
    """
    lengths = e.shape_of(x)[1:-1]
    if window.is_valid(lengths):
        return x, VALID
    if value is None and window.is_same(lengths):
        return x, SAME
    amounts = [(0, 0)]
    amounts += [(window.begin[axis], max(window.needed_end(axis, n), 0)) for axis, n in enumerate(lengths)]
    return pad(e, x, [*amounts, (0, 0)], value or 0.0), VALID


def pad(e: Emitter, x: int, amounts: Sequence[tuple[int, int]], value: float = 0.0) -> int:
    """PAD or PADV2 of a tensor by (before, after) an axis."""
    shape = [dim + before + after for dim, (before, after) in zip(e.shape_of(x), amounts, strict=True)]
    if shape == list(e.shape_of(x)):
        return x
    paddings = e.array(np.asarray(amounts, np.int32))
    if value == 0:
        return e.op("PAD", [x, paddings], shape, "PadOptions")
    return e.op("PADV2", [x, paddings, e.scalar(value, x)], shape, "PadV2Options")
