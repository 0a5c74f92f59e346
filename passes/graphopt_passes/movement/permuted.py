"""Values with their axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import opset, shape_of
from graphopt.ir.schema import attribute, has_input, integers
from graphopt_passes.movement.layout import (
    BROADCAST,
    REDUCTIONS,
    Flip,
    Layout,
    Step,
    is_elementwise,
    is_single,
    movable_constant,
    rank_of,
)

_SOFTMAX = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_ONE_AXIS = _SOFTMAX | {"Concat", "Split"}
_SINCE_ANY_AXIS = 13
"""Opset from which Softmax and its kin work along one axis; before, they flatten all that follow."""


def permutation_of(node: ir.Node) -> tuple[int, ...] | None:
    """The order of axes that a Transpose makes, None for another node or an unknown rank."""
    if node.op_type != "Transpose" or node.domain:
        return None
    perm = attribute(node, "perm")
    rank = len(perm) if perm is not None else rank_of(node.inputs[0])
    if rank is None:
        return None
    return tuple(perm) if perm is not None else tuple(range(rank))[::-1]


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes one."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The permutation of two Transposes in a row."""
    return tuple(first[axis] for axis in second)


class Permuted(Layout):
    """There, a value is what Transpose(order) makes of it here."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order, self.back = tuple(order), inverse(order)
        self.rank = len(self.order)

    def reverse(self) -> Permuted:
        """The order that undoes this one."""
        return Permuted(self.back)

    def fits(self, value: ir.Value) -> bool:
        """Whether the value has as many axes as the order."""
        return rank_of(value) == self.rank

    def shape_there(self, value: ir.Value) -> ir.Shape:
        """The proven shape there."""
        shape = shape_of(value)
        assert shape is not None
        return ir.Shape([shape[axis] for axis in self.order])

    def is_move(self, node: ir.Node) -> bool:
        """Whether the node is a Transpose."""
        perm = permutation_of(node)
        return perm is not None and len(perm) == self.rank

    def begins_there(self, move: ir.Node) -> bool:
        """Whether this is the Transpose out of the layout there."""
        return permutation_of(move) == self.back

    def ends_there(self, move: ir.Node) -> bool:
        """Whether this is the Transpose into the layout there."""
        return permutation_of(move) == self.order

    def convert(self, value: ir.Value, *, there: bool) -> Step:
        """A Transpose into the layout or out of it."""
        return Step("Transpose", attributes={"perm": self.order if there else self.back})

    def between(self, move: ir.Node, *, source_there: bool, result_there: bool) -> Step | None:
        """A Transpose by the composed order, None where that is nothing."""
        perm = permutation_of(move)
        assert perm is not None
        if source_there:
            perm = compose(self.back, perm)
        if result_there:
            perm = compose(perm, self.order)
        return None if perm == tuple(range(self.rank)) else Step("Transpose", attributes={"perm": perm})

    def flip(self, node: ir.Node) -> Flip | None:
        """The node with its axes renumbered."""
        if node.domain or not all(self.fits(v) for v in node.outputs):
            return None
        if is_elementwise(node):
            return self._elementwise(node)
        if node.op_type in _ONE_AXIS:
            return self._one_axis(node)
        if node.op_type in REDUCTIONS:
            return self._reduction(node)
        if node.op_type == "Slice":
            return self._slice(node)
        return self._pad(node) if node.op_type == "Pad" else None

    def _axis(self, axis: int) -> int:
        return self.order.index(axis % self.rank)

    def _elementwise(self, node: ir.Node) -> Flip | None:
        if node.op_type not in BROADCAST:
            return Flip((0,)) if node.inputs[0] is not None and self.fits(node.inputs[0]) else None
        inputs: list[int] = []
        constants: dict[int, np.ndarray] = {}
        for position, value in enumerate(node.inputs):
            if value is None or (is_single(value) and (rank_of(value) or 0) <= self.rank):
                continue
            array = movable_constant(value)
            if array is not None and array.ndim <= self.rank:
                wide = array.reshape((1,) * (self.rank - array.ndim) + array.shape)
                constants[position] = wide.transpose(self.order)
            elif self.fits(value):
                inputs.append(position)
            else:
                return None
        return Flip(tuple(inputs), constants) if inputs else None

    def _one_axis(self, node: ir.Node) -> Flip | None:
        axis = attribute(node, "axis")
        if axis is None or (node.op_type in _SOFTMAX and opset(node) < _SINCE_ANY_AXIS):
            return None
        inputs: list[int] = []
        constants: dict[int, np.ndarray] = {}
        for position, value in enumerate(node.inputs if node.op_type == "Concat" else node.inputs[:1]):
            array = movable_constant(value)
            if value is None or not self.fits(value):
                return None
            if array is not None:
                constants[position] = array.transpose(self.order)
            else:
                inputs.append(position)
        return Flip(tuple(inputs), constants, {"axis": self._axis(axis)}) if inputs else None

    def _reduction(self, node: ir.Node) -> Flip | None:
        if not attribute(node, "keepdims"):
            return None
        if node.op_type.startswith("Arg"):
            return Flip((0,), attributes={"axis": self._axis(attribute(node, "axis"))})
        return self._axes(node, 1)

    def _axes(self, node: ir.Node, index: int) -> Flip | None:
        axes = integers(node, "axes", index)
        if not axes or node.inputs[0] is None or not self.fits(node.inputs[0]):
            return None
        moved = [self._axis(axis) for axis in axes]
        if "axes" in node.attributes:
            return Flip((0,), attributes={"axes": moved})
        return Flip((0,), {index: np.array(moved, np.int64)})

    def _slice(self, node: ir.Node) -> Flip | None:
        if "axes" in node.attributes or has_input(node, 3):
            return self._axes(node, 3)
        starts = integers(node, "starts", 1)
        if starts is None:
            return None
        moved = [self._axis(axis) for axis in range(len(starts))]
        changed: dict[str, Any] = {"attributes": {"axes": moved}} if "starts" in node.attributes else {
            "constants": {3: np.array(moved, np.int64)}
        }  # fmt: skip
        return Flip((0,), **changed)

    def _pad(self, node: ir.Node) -> Flip | None:
        if has_input(node, 3):
            return self._axes(node, 3)
        pads = integers(node, "pads", 1)
        if pads is None or len(pads) != 2 * self.rank:
            return None
        moved = [pads[axis] for axis in self.order] + [pads[self.rank + axis] for axis in self.order]
        if "pads" in node.attributes:
            return Flip((0,), attributes={"pads": moved})
        return Flip((0,), {1: np.array(moved, np.int64)})
