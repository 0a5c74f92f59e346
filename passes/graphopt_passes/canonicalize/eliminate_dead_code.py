"""Take away what no output needs.

    x ─ Relu ─ y(output)
      └ Exp ─ z             becomes      x ─ Relu ─ y

Nodes, initializers and functions that nothing reads go; the inputs of the model stay, read or not, since its
signature is the user's. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import bodies, is_read, nodes_of, owners
from graphopt.pipeline import Context, Pass, PassResult


class EliminateDeadCode(Pass):
    """Take away nodes, initializers and functions that no output needs."""

    name = "eliminate-dead-code"
    fidelity = "exact"

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Sweep every graph from its end."""
        nodes = sum(sweep(owner) for owner in owners(model))
        functions = unused_functions(model)
        for identifier in functions:
            del model.functions[identifier]
        weights = unused_initializers(model)
        parts = [(nodes, "nodes"), (weights, "initializers"), (len(functions), "functions")]
        return PassResult(sum(n for n, _ in parts), ", ".join(f"{n} {what}" for n, what in parts if n))


def sweep(graph: ir.Graph) -> int:
    """Remove dead nodes of a graph and of the bodies in it, in one walk from the end.

    Args:
        graph: nodes in topological order.

    Returns:
        How many nodes went.
    """
    removed = 0
    for node in reversed(graph):
        if any(is_read(value) or value.is_graph_output() for value in node.outputs):
            removed += sum(sweep(body) for body in bodies(node))
            continue
        for body in bodies(node):
            _release(body)
        graph.remove(node, safe=True)
        removed += 1
    return removed


def _release(body: ir.Graph) -> None:
    """Let go of all that a body reads, so that what was made for it alone becomes dead as well."""
    for node in nodes_of(body):
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)


def unused_initializers(model: ir.Model) -> int:
    """Remove initializers that nothing reads, of all graphs; returns how many went."""
    removed = 0
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not is_read(value) and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]
                removed += 1
    return removed


def unused_functions(model: ir.Model) -> list[tuple[str, str, str]]:
    """Functions that nothing calls that runs."""
    called: set[tuple[str, str, str]] = set()
    waiting: list[ir.Graph] = [model.graph]
    while waiting:
        for node in nodes_of(waiting.pop()):
            identifier = (node.domain, node.op_type, node.overload)
            if identifier in model.functions and identifier not in called:
                called.add(identifier)
                waiting.append(model.functions[identifier].graph)
    return [identifier for identifier in model.functions if identifier not in called]
