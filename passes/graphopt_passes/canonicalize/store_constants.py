"""Store constants the way that a reader wants them: all as initializers, or all as Constant nodes.

    Constant ─ Add ─ y      becomes      (initializer) ─ Add ─ y      or the other way round

An initializer that the caller may override, or that is an output, stays one, and a function has no initializers.
Fidelity: exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from graphopt.ir.edit import Names, constant, is_read, nodes_of
from graphopt.pipeline import Context, Pass, PassResult


class StoreConstants(Pass):
    """Store constants all as initializers, or all as Constant nodes."""

    name = "store-constants"
    fidelity = "exact"

    @dataclass(frozen=True)
    class Options:
        """How to store them."""

        place: Literal["initializers", "nodes"] = "initializers"
        """Where they go."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Move every constant of the main graph and its bodies."""
        moved = to_nodes(model) if self.options.place == "nodes" else to_initializers(model)
        return PassResult(moved, f"{moved} constants" if moved else "")


def to_initializers(model: ir.Model) -> int:
    """Make initializers of Constant nodes; returns how many."""
    moved = 0
    for node in list(nodes_of(model.graph)):
        value = node.outputs[0] if node.outputs else None
        tensor = constant(value)
        if value is None or node.op_type != "Constant" or tensor is None or value.is_graph_output():
            continue
        graph, name = node.graph, value.name
        assert graph is not None
        new = ir.Value(name=name, shape=ir.Shape(list(tensor.shape)), type=ir.TensorType(tensor.dtype))
        new.const_value = tensor
        value.replace_all_uses_with(new)
        graph.remove(node, safe=True)
        value.name = None
        graph.register_initializer(new)
        moved += 1
    return moved


def to_nodes(model: ir.Model) -> int:
    """Make Constant nodes of initializers, at the beginning of their graphs; returns how many."""
    names, moved = Names(model), 0
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or value.is_graph_input() or value.is_graph_output() or not is_read(value):
                continue
            node = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], name=names.fresh(f"{name}_constant"))
            value.replace_all_uses_with(node.outputs[0])
            del graph.initializers[name]
            node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = name, value.shape, value.type
            graph.insert_before(graph[0], node)
            moved += 1
    return moved
