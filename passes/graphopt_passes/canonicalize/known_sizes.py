"""Where the sizes of tensors can be had at a place of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.content import dims_of
from graphopt.ir.edit import constant
from graphopt.ir.symbolic import Dim, partial_of

Items = tuple[Dim, ...]
RANGES_FROM = 15
"""Opset from which Shape takes a start and an end."""


def vector_of(value: ir.Value) -> Items | None:
    """The content of a computed int64 vector."""
    held = partial_of(value) if value.dtype == ir.DataType.INT64 and constant(value) is None else None
    return held if isinstance(held, tuple) and held else None


@dataclass(frozen=True)
class Anchor:
    """A tensor whose sizes can be had, or before opset 15 the result of a Shape; and the node after which to do so.

    A Shape far below would keep the tensor in memory until there. An input of the model is there all the time.
    """

    value: ir.Value
    after: ir.Node | None


@dataclass(frozen=True)
class Run:
    """Some sizes of an anchor."""

    anchor: Anchor
    start: int
    items: Items


class Known:
    """Where sizes can be had at a place of a graph."""

    def __init__(self, opset: int, outer: Known | None = None) -> None:
        self.opset, self.outer = opset, outer
        self.ranges = opset >= RANGES_FROM
        self.anchors: dict[Dim, tuple[Anchor, int]] = {}
        self.vectors: dict[Items, ir.Value] = {}
        self.wholes: dict[Items, Run] = outer.wholes if outer is not None else {}

    def input(self, value: ir.Value) -> None:
        """The sizes of an input of the model can be had."""
        anchor, dims = Anchor(value, None), dims_of(value)
        if self.ranges:
            self.anchor(anchor, value)
        elif dims:
            self.wholes.setdefault(dims, Run(anchor, 0, dims))

    def anchor(self, anchor: Anchor, tensor: ir.Value) -> None:
        """The sizes of a tensor can be had from an anchor."""
        for axis, dim in enumerate(dims_of(tensor) or ()):
            if dim.number is None:
                self.anchors.setdefault(dim, (anchor, axis))

    def learn(self, node: ir.Node) -> None:
        """Take note of what a node has computed."""
        value = node.outputs[0]
        items = vector_of(value)
        if items is None:
            return
        self.vectors.setdefault(items, value)
        tensor = node.inputs[0] if node.op_type == "Shape" else None
        if tensor is not None and self.ranges:
            self.anchor(Anchor(tensor, node), tensor)
        elif tensor is not None and dims_of(tensor) == items:
            self.anchor(Anchor(value, node), tensor)

    def vector(self, items: Items) -> ir.Value | None:
        """A value with this content."""
        found = self.vectors.get(items)
        return found if found is not None or self.outer is None else self.outer.vector(items)

    def run_of(self, items: Items) -> Run | None:
        """Sizes of one anchor that are these."""
        found = self.anchors.get(items[0])
        if found is None:
            return None if self.outer is None else self.outer.run_of(items)
        anchor, axis = found
        sizes = dims_of(anchor.value) if self.ranges else vector_of(anchor.value)
        same = sizes is not None and sizes[axis : axis + len(items)] == items
        return Run(anchor, axis, items) if same else None
