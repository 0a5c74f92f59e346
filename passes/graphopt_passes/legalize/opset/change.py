"""A node at one boundary between two versions of its operator, and what an adapter may do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError
from graphopt.ir.edit import attribute as make_attribute
from graphopt.ir.edit import constant, is_read, shape_of
from graphopt.ir.schema import defaults
from graphopt.ir.symbolic import numbers, partial_of
from graphopt_passes.canonicalize.splice import Splicer


class Refused(GraphoptError):
    """A node cannot be brought over a boundary without changing what it computes; says why."""


class Change:
    """What an adapter works with.

    Attributes:
        node: the node; the adapter edits it in place, or replaces it.
        version: the version at the upper side of the boundary.
        made: nodes that the adapter made; they follow the version on the side where the node goes.
    """

    def __init__(self, node: ir.Node, version: int, *, up: bool, splicer: Splicer) -> None:
        self.node, self.version, self.made = node, version, list[ir.Node]()
        self._from = version - 1 if up else version
        self._splicer = splicer
        self._stem = node.name or node.op_type

    @property
    def in_function(self) -> bool:
        """Whether the node is in a function, which has no initializers."""
        return self._splicer.in_function(self.node.graph)

    def refuse(self, reason: str) -> NoReturn:
        """Give up on this node."""
        raise Refused(reason)

    def attribute(self, name: str) -> Any:
        """The value of an attribute, with the default of the version that the node comes from."""
        held = self.node.attributes.get(name)
        if held is None:
            return defaults(self.node.op_type, "", self._from).get(name)
        if held.is_ref():
            self.refuse(f"its attribute {name} is the caller's")
        return held.value

    def set(self, **attributes: Any) -> None:
        """Set attributes; None takes one away."""
        for name, value in attributes.items():
            self.node.attributes.pop(name, None)
            if value is not None:
                self.node.attributes[name] = make_attribute(name, value)

    def input(self, index: int) -> ir.Value | None:
        """An input, None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def set_input(self, index: int, value: ir.Value | np.ndarray | None) -> None:
        """Set an input; an array becomes a constant. Inputs left out at the end are cut off."""
        if isinstance(value, np.ndarray):
            value = self.constant(value)
        if index >= len(self.node.inputs):
            if value is None:
                return
            self.node.resize_inputs(index + 1)
        self.node.replace_input_with(index, value)
        used = max((i + 1 for i, v in enumerate(self.node.inputs) if v is not None), default=0)
        self.node.resize_inputs(used)

    def content(self, index: int) -> np.ndarray | None:
        """What a constant input holds; None where it is left out.

        Raises:
            Refused: it is computed.
        """
        value = self.input(index)
        if value is None:
            return None
        tensor = constant(value)
        if tensor is not None:
            return tensor.numpy()
        partial = partial_of(value)
        held = numbers(partial)
        if held is None:
            self.refuse(f"its input {value.name!r} is computed, and has to be a constant there")
        array = np.array(held, np.int64 if value.dtype is None else value.dtype.numpy())
        return array if isinstance(partial, tuple) else array.reshape(())

    def dtype(self, index: int = 0) -> ir.DataType:
        """The element type of an input."""
        value = self.input(index)
        if value is None or value.dtype is None:
            self.refuse("the type of its input is not known")
        return value.dtype

    def rank(self, index: int = 0) -> int:
        """The rank of an input."""
        shape = shape_of(self.input(index))
        if shape is None:
            self.refuse("the rank of its input is not known")
        return len(shape)

    def shape(self, index: int = 0) -> ir.Shape | None:
        """The shape of an input, as far as it is known."""
        return shape_of(self.input(index))

    def needed(self, output: int) -> bool:
        """Whether anything reads an output."""
        if output >= len(self.node.outputs):
            return False
        value = self.node.outputs[output]
        return is_read(value) or value.is_graph_output()

    def constant(self, array: np.ndarray) -> ir.Value:
        """A constant for the adapted node to read."""
        return self._splicer.constant(ir.tensor(np.ascontiguousarray(array) if array.ndim else array), self.node,
                                      f"{self._stem}_const")  # fmt: skip

    def make(self, op_type: str, *inputs: ir.Value | np.ndarray | None, outputs: int = 1, **attributes: Any) -> Any:
        """A new node before this one; returns its output, or a list of them."""
        values = [self.constant(one) if isinstance(one, np.ndarray) else one for one in inputs]
        held = [make_attribute(name, value) for name, value in attributes.items() if value is not None]
        made = self._splicer.node(self.node, op_type, values, self._stem, outputs=outputs, attributes=held)
        node = made[0].producer()
        assert node is not None
        self.made.append(node)
        return made[0] if outputs == 1 else made

    def replace(self, *values: ir.Value) -> None:
        """Let new values take the place of the node's outputs, and remove it."""
        for old, new in zip(self.node.outputs, values, strict=False):
            new.type = new.type or old.type
        outputs: Sequence[ir.Value | None] = [*values, *[None] * (len(self.node.outputs) - len(values))]
        self._splicer.replace(self.node, outputs)

    def add_after(self, output: int, op_type: str, **attributes: Any) -> None:
        """Put a node between an output and what reads it."""
        old = self.node.outputs[output]
        graph = self.node.graph
        assert graph is not None
        made = ir.Node("", op_type, [None], [make_attribute(n, v) for n, v in attributes.items()])
        made.name = self._splicer.names.fresh(f"{self._stem}_{op_type}")
        graph.insert_after(self.node, made)
        new = made.outputs[0]
        new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name, old.type = self._splicer.names.fresh(f"{old.name}_{op_type.lower()}"), None
        made.replace_input_with(0, old)
        self.made.append(made)


def integers(values: Sequence[int] | int) -> np.ndarray:
    """int64, one-dimensional."""
    return np.array(values if isinstance(values, list | tuple) else [values], np.int64)
