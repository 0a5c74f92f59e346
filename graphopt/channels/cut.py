"""Take entries out of a model: weights are sliced, shape constants and attributes set right, shapes recorded anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.channels.graph import Axis, Cells, ChannelGraph
from graphopt.channels.registry import repair_of
from graphopt.channels.shuffle import replace_shuffle
from graphopt.ir.edit import (
    Names,
    add_constant,
    attribute,
    bodies,
    constant,
    mark,
    nodes_of,
    opset,
)


class Cut:
    """A removal in the making: what is left of each axis, and the edits that repairs ask for.

    Args:
        model: changed in place.
        graph: of the model, before the removal.
        gone: which cells leave, shape (cells,).
        made_by: the name that new nodes carry as their maker.
    """

    def __init__(self, model: ir.Model, graph: ChannelGraph, gone: np.ndarray, made_by: str) -> None:
        self.model, self.graph, self.gone = model, graph, gone
        self._made_by = made_by
        self._names = Names(model)

    def kept(self, axis: Axis) -> Cells:
        """Indices of the entries that stay."""
        return np.flatnonzero(~self.gone[axis.start : axis.start + axis.size])

    def changed(self, axis: Axis) -> bool:
        """Whether entries leave this axis."""
        return bool(self.gone[axis.start : axis.start + axis.size].any())

    def numbers(self, axis: Axis) -> Cells:
        """The new index of each entry; of one that leaves, the index of the next that stays."""
        kept = ~self.gone[axis.start : axis.start + axis.size]
        numbers: Cells = np.cumsum(kept) - kept
        return numbers

    def places(self, axis: Axis, chosen: Cells) -> Cells:
        """The new indices of those of the chosen entries that stay, in the order chosen."""
        stay = ~self.gone[axis.start : axis.start + axis.size]
        found: Cells = self.numbers(axis)[chosen[stay[chosen]]]
        return found

    def left(self, node: ir.Node, name: str) -> int | None:
        """How many entries a node's own axis keeps; None where none leave."""
        axis = self.graph.find(node, name)
        return len(self.kept(axis)) if axis is not None and self.changed(axis) else None

    def opset(self, node: ir.Node) -> int:
        """Version of the operator set that a node follows."""
        return opset(node)

    def set(self, node: ir.Node, name: str, value: Any) -> None:
        """Set an attribute."""
        node.attributes[name] = attribute(name, value)

    def constant(self, node: ir.Node, index: int, content: Sequence[int] | np.ndarray) -> None:
        """Let an input be a new constant, of integers where a plain list is given."""
        array = content if isinstance(content, np.ndarray) else np.array(content, np.int64)
        old = node.inputs[index] if index < len(node.inputs) else None
        if not isinstance(content, np.ndarray) and old is not None and old.dtype == ir.DataType.INT32:
            array = array.astype(np.int32)
        stem = (old.name if old is not None else None) or f"{node.name or node.op_type}_{index}"
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, self._constant(array, stem))

    def sizes(self, node: ir.Node, index: int, out: ir.Value, axes: Sequence[int] | None = None) -> None:
        """Set right an input that lists the sizes of `out` (or of some of its axes), as a constant or computed.

        Entries that say "as before" (0), "what is left" (-1) or 1 where something is broadcast stay.
        """
        value = node.inputs[index]
        assert value is not None
        shape = self.graph.shape(out)
        tensor = constant(value)
        listed = tensor.size if tensor is not None else self.graph.shape(value)[0]
        named = list(axes) if axes is not None else list(range(len(shape) - listed, len(shape)))
        new = {}
        for place, axis in enumerate(named):
            one = self.graph.find(out, axis)
            if one is not None and self.changed(one):
                new[place] = (shape[axis], len(self.kept(one)))
        if not new:
            return
        if tensor is not None:
            old = tensor.numpy().reshape(-1)
            self.constant(node, index, np.array(
                [new[place][1] if place in new and size == new[place][0] else size for place, size in enumerate(old)],
                old.dtype,
            ))  # fmt: skip
            return
        assert node.graph is not None
        parts: list[ir.Value] = []
        for place in range(listed):
            if place in new:
                parts.append(self._constant(np.array([new[place][1]], np.int64), f"{value.name}_{place}"))
            else:
                at = self._constant(np.array([place], np.int64), f"{value.name}_at_{place}")
                parts.append(self._insert(node, "Gather", [value, at], {"axis": 0}))
        node.replace_input_with(index, self._insert(node, "Concat", parts, {"axis": 0}))

    def gather_before(self, node: ir.Node, index: int, axis: int, places: Cells) -> None:
        """Let an input pass a Gather of the given entries first."""
        value = node.inputs[index]
        assert value is not None
        at = self._constant(np.asarray(places, np.int64), f"{value.name}_kept")
        node.replace_input_with(index, self._insert(node, "Gather", [value, at], {"axis": axis}))

    def gather_instead(self, node: ir.Node, value: ir.Value, axis: int, places: Cells) -> None:
        """Let a node's only output be the given entries of a value; the node is left without effect."""
        out = node.outputs[0]
        at = self._constant(np.asarray(places, np.int64), f"{out.name}_order")
        node.op_type, node.domain = "Gather", ""
        node.attributes.clear()
        node.resize_inputs(2)
        node.replace_input_with(0, value)
        node.replace_input_with(1, at)
        self.set(node, "axis", axis)
        mark([node], self._made_by, [node])

    def run(self) -> None:
        """Carry out the removal."""
        for node, shuffle in self.graph.shuffles.items():
            if any(self.changed(axis) for axis in self.graph.axes_of(shuffle.source)):
                replace_shuffle(node, shuffle, self)
        for node in list(nodes_of(self.model.graph)):
            if node in self.graph.shuffles:
                continue
            function = repair_of(node)
            if function is not None and self._touches(node):
                function(node, self)
        self._slice_constants()
        self._renew_shapes()

    def sliced(self, value: ir.Value, array: np.ndarray) -> np.ndarray:
        """What is left of an array of the shape that a value had."""
        for axis in self.graph.axes_of(value):
            if self.changed(axis):
                assert isinstance(axis.index, int)
                array = array.take(self.kept(axis), axis=axis.index)
        return array

    def _touches(self, node: ir.Node) -> bool:
        return any(
            self.changed(axis)
            for value in (*node.inputs, *node.outputs)
            if value is not None
            for axis in self.graph.axes_of(value)
        )

    def _slice_constants(self) -> None:
        owners = {axis.owner for axis in self.graph.axes if self.changed(axis)}
        for value in sorted((one for one in owners if isinstance(one, ir.Value)), key=lambda one: one.name or ""):
            tensor = constant(value)
            if tensor is None:
                continue
            store(value, self.sliced(value, tensor.numpy()))

    def _renew_shapes(self) -> None:
        """Record the sizes that are left, and forget what was computed from the old ones."""
        self.model.meta.data.pop("graphopt.inferences", None)
        for node in nodes_of(self.model.graph):
            node.meta.data.pop("graphopt.seen", None)
            inside = [value for body in bodies(node) for value in body.inputs]
            for value in (*node.outputs, *inside):
                changed = [axis for axis in self.graph.axes_of(value) if self.changed(axis)]
                shape = value.meta.data.get("graphopt.shape", value.shape)
                value.meta.data.pop("graphopt.partial", None)
                value.meta.data.pop("graphopt.shape", None)
                if changed and value.type is None:
                    value.shape = None
                elif changed and shape is not None:
                    sizes = list(shape)
                    for axis in changed:
                        assert isinstance(axis.index, int)
                        sizes[axis.index] = len(self.kept(axis))
                    value.shape = ir.Shape(sizes)

    def _constant(self, array: np.ndarray, stem: str) -> ir.Value:
        return add_constant(self.model.graph, array, self._names.fresh(stem))

    def _insert(self, node: ir.Node, op_type: str, inputs: list[ir.Value], attributes: dict[str, int]) -> ir.Value:
        assert node.graph is not None
        made = ir.node(op_type, inputs, attributes, name=self._names.fresh(f"{node.name or node.op_type}_{op_type}"))
        made.outputs[0].name = self._names.fresh(f"{made.name}_out")
        made.outputs[0].type = inputs[0].type
        mark([made], self._made_by, [node])
        node.graph.insert_before(node, made)
        return made.outputs[0]


def store(value: ir.Value, array: np.ndarray) -> None:
    """Give a constant another content of the same type, be it an initializer or made by a node."""
    old = constant(value)
    assert old is not None
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    tensor = ir.Tensor(array, dtype=old.dtype, name=value.name)
    node = value.producer()
    if node is None:
        value.const_value = tensor
        value.shape = ir.Shape(array.shape)
    else:
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", tensor)
        node.meta.data.pop("graphopt.tensor", None)
