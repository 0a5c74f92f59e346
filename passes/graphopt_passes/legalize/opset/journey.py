"""The way of a node, and of what it is replaced by, from one opset version to another."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import bodies, is_read, nodes_of
from graphopt.ir.infer import infer_node
from graphopt.ir.learn import learn_shape
from graphopt.ir.partial import evaluate_partially
from graphopt.ir.sizes import output_sizes
from graphopt.ir.symbolic import numbers, partial_of
from graphopt_passes.canonicalize.splice import Splicer, Values
from graphopt_passes.legalize.opset import DOWN, UP
from graphopt_passes.legalize.opset.change import Change, Refused
from graphopt_passes.legalize.opset.expand import attributes_of, definition
from graphopt_passes.legalize.opset.history import obstacle, schema, versions

__all__ = ["Journey", "Refused"]

Stop = tuple[ir.Node, int]
"""A node and the opset version that it follows."""


class Journey:
    """Brings nodes to one opset version.

    Args:
        target: where to.
        splicer: edits the graphs that they are in.
    """

    def __init__(self, target: int, splicer: Splicer) -> None:
        self.target, self.splicer = target, splicer
        self.changed = 0
        """Adapters applied so far."""
        self._written: set[ir.Node] = set()

    def take(self, node: ir.Node, version: int) -> None:
        """Bring a node from a version to the target.

        Raises:
            Refused: it would not compute the same.
        """
        waiting: list[Stop] = [(node, version)]
        while waiting:
            one, at = waiting.pop()
            if one.domain or one.graph is None or one.op_identifier() in self.splicer.model.functions:
                continue
            if one in self._written and not any(is_read(v) or v.is_graph_output() for v in one.outputs):
                self.splicer.remove(one)  # what it computed has become a constant
                continue
            steps = versions(one.op_type)
            if at < self.target:
                boundary = next((v for v in steps if at < v <= self.target), None)
            else:
                boundary = next((v for v in reversed(steps) if self.target < v <= at), None)
            if boundary is not None:
                waiting.extend(self._cross(one, boundary, up=at < self.target))
            elif steps and schema(one.op_type, self.target) is None:
                raise Refused(f"opset {self.target} does not have {one.op_type}")

    def _cross(self, node: ir.Node, boundary: int, *, up: bool) -> list[Stop]:
        """Bring a node over one boundary; returns what goes on from there."""
        change, op_type = Change(node, boundary, up=up, splicer=self.splicer), node.op_type
        adapter = (UP if up else DOWN).get((op_type, boundary))
        try:
            if adapter is not None:
                adapter(change)
                self.changed += 1
            if up and adapter is None and schema(op_type, boundary) is None:
                change.refuse(f"opset {boundary} does not have {op_type}")
            if not up and node.graph is not None and node.op_type == op_type:
                why = obstacle(node, boundary)
                if why is not None:
                    change.refuse(why)
        except Refused:
            written = None if up else self._write_out(node, boundary)
            if written is None:
                raise
            return written
        for made in change.made:
            infer_node(made)
        going = [*change.made, node] if node.graph is not None else change.made
        return [(one, boundary if up else boundary - 1) for one in going]

    def _write_out(self, node: ir.Node, version: int) -> list[Stop] | None:
        """Put what ONNX says that a node stands for in its place."""
        found = definition(node, version)
        if found is None:
            return None
        inputs = found.function.inputs
        given = [*node.inputs, *[None] * (len(inputs) - len(node.inputs))]
        values: Values = dict(zip(inputs, given, strict=True))
        copied = self.splicer.copy(found.function.graph, node, values, attributes=attributes_of(node, version))
        outputs: list[ir.Value | None] = [None] * len(node.outputs)
        for place, value in zip(found.outputs, copied, strict=True):
            if place < len(outputs):
                outputs[place] = value
        made = [one for top in self.splicer.made for one in (top, *(n for b in bodies(top) for n in nodes_of(b)))]
        self.splicer.replace(node, outputs)
        self._learn(made)
        self.changed += 1
        self._written.update(self.splicer.made)
        # The last ones come first: what they read of shape arithmetic becomes a constant, and its makers need not go.
        return [(one, found.version) for one in made]

    def _learn(self, nodes: list[ir.Node]) -> None:
        """Types and shapes of nodes in topological order; sizes that are known become constants."""
        for node in nodes:
            infer_node(node)
            sizes = output_sizes(node)
            if sizes is not None:
                named = [d.number if d.number is not None else str(d) for d in sizes]
                learn_shape(node.outputs[0], named, derived=True)
            evaluate_partially(node)
            for value in node.outputs:
                partial = partial_of(value)
                held = numbers(partial)
                known = held is not None and value.dtype is not None and node.op_type != "Constant"
                if known and not value.is_graph_output():
                    array = np.array(held, value.dtype.numpy())
                    array = array if isinstance(partial, tuple) else array.reshape(())
                    value.replace_all_uses_with(self.splicer.constant(ir.tensor(array), node, value.name or "size"))
