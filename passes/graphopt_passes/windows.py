"""What the attributes of a sliding window come to on known sizes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import static_shape
from graphopt.ir.schema import attribute


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes of a tensor, axis by axis.

    Attributes:
        sizes: elements of the input.
        kernel: elements of the window.
        strides: from one window to the next.
        dilations: between elements of the window.
        before: padding in front, auto_pad resolved.
        after: padding behind, auto_pad resolved.
        outputs: windows.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.sizes)

    @property
    def beyond(self) -> tuple[int, ...]:
        """Elements behind the input that the last window reaches; negative where it ends before it."""
        return tuple(
            (count - 1) * stride + dilation * (size - 1) + 1 - before - whole
            for count, stride, dilation, size, before, whole in zip(
                self.outputs, self.strides, self.dilations, self.kernel, self.before, self.sizes, strict=True
            )
        )

    def places(self, axis: int) -> np.ndarray:
        """Places in the input that windows read, of shape [outputs, kernel]; those in the padding lie outside."""
        starts = np.arange(self.outputs[axis]) * self.strides[axis] - self.before[axis]
        return starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]

    def counts(self, *, pads: bool) -> np.ndarray:
        """How many elements each window has inside the input, or inside input and padding; of shape outputs."""
        found = np.ones(())
        for axis in range(self.rank):
            low, high = (-self.before[axis], self.after[axis]) if pads else (0, 0)
            places = self.places(axis)
            inside = ((places >= low) & (places < self.sizes[axis] + high)).sum(axis=1)
            found = np.multiply.outer(found, inside)
        return found

    def offsets(self) -> itertools.product[tuple[int, ...]]:
        """Positions within the window, the last axis fastest."""
        return itertools.product(*(range(size) for size in self.kernel))


def window(node: ir.Node) -> Window | None:
    """The window of a Conv or a pooling; None where its input or its kernel has no known size.

    Output sizes are those of the ONNX operator AveragePool: ⌊(size + pads − extent) / stride⌋ + 1, with ceil_mode ⌈…⌉
    where the last window begins inside the input or the padding in front; SAME has ⌈size / stride⌉.
    """
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    kernel = attribute(node, "kernel_shape")
    if kernel is None and len(node.inputs) > 1:
        weights = static_shape(node.inputs[1])
        kernel = None if weights is None else weights[2:]
    sizes = shape[2:]
    if kernel is None or len(kernel) != len(sizes) or not sizes:
        return None
    rank = len(sizes)
    strides = tuple(attribute(node, "strides") or [1] * rank)
    dilations = tuple(attribute(node, "dilations") or [1] * rank)
    extents = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    how = attribute(node, "auto_pad") or "NOTSET"
    pads = list(attribute(node, "pads") or [0] * (2 * rank)) if how == "NOTSET" else [0] * (2 * rank)
    if how.startswith("SAME"):
        total = [
            max(0, (-(-size // stride) - 1) * stride + extent - size)
            for size, stride, extent in zip(sizes, strides, extents, strict=True)
        ]
        less, more = [one // 2 for one in total], [one - one // 2 for one in total]
        pads = less + more if how == "SAME_UPPER" else more + less
    ceil = bool(attribute(node, "ceil_mode")) and how == "NOTSET"
    outputs = tuple(
        _count(size, extent, stride, before, after, ceil)
        for size, extent, stride, before, after in zip(sizes, extents, strides, pads[:rank], pads[rank:], strict=True)
    )
    if min(outputs) < 1:
        return None
    return Window(
        tuple(sizes), tuple(kernel), strides, dilations, tuple(pads[:rank]), tuple(pads[rank:]), outputs
    )  # fmt: skip


def _count(size: int, extent: int, stride: int, before: int, after: int, ceil: bool) -> int:
    room = size + before + after - extent
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count
