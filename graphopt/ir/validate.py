"""Is the graph sound? Every value made once and before its use, names unique, no cycle. Linear in the graph."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from graphopt.errors import ModelError


def validate(model: ir.Model, *, file: str | Path | None = None, sort: bool = False) -> None:
    """Check the structure of all graphs and functions of a model.

    Args:
        file: named in the error.
        sort: accept graphs whose nodes are not in topological order and put them in order.

    Raises:
        ModelError: names the node or value at fault.
    """
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        try:
            _graph(graph, set(), set(), file)
        except _Unordered as unordered:
            if not sort:
                raise ModelError(str(unordered), file=file, node=unordered.node) from None
            _sort(graph, file)
            _graph(graph, set(), set(), file)


class _Unordered(Exception):
    """A node stands before a node that it reads from."""

    def __init__(self, node: ir.Node, value: ir.Value) -> None:
        self.node = describe(node)
        super().__init__(f"reads {value.name!r} before it is made")


def describe(node: ir.Node) -> str:
    """The name of a node, or of its first output where it has none."""
    if node.name:
        return node.name
    return next((f"-> {v.name}" for v in node.outputs if v.name), node.op_type)


def _graph(graph: ir.Graph, outer: set[ir.Value], names: set[str], file: str | Path | None) -> None:
    made: set[ir.Value] = set()
    mine: list[str] = []

    def make(value: ir.Value, node: ir.Node | None) -> None:
        if value.name:
            if value.name in names:
                at = describe(node) if node else None
                raise ModelError(f"the value {value.name!r} is made twice", file=file, node=at)
            names.add(value.name)
            mine.append(value.name)
        made.add(value)

    inputs = set(graph.inputs)
    for value in (*graph.inputs, *(v for v in graph.initializers.values() if v not in inputs)):
        make(value, None)
    # A body sees what is made around it, so one set each serves all depths: what a body adds is taken out again.
    visible = outer
    visible |= made
    added = set(made)
    for node in graph:
        for read in node.inputs:
            if read is None or read in visible:
                continue
            if read.producer() is None:
                raise ModelError(f"reads {read.name!r}, which nothing makes", file=file, node=describe(node))
            raise _Unordered(node, read)
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            if attribute.type == ir.AttributeType.GRAPH:
                _graph(attribute.value, visible, names, file)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for body in attribute.value:
                    _graph(body, visible, names, file)
        for value in node.outputs:
            make(value, node)
            visible.add(value)
            added.add(value)
    for output in graph.outputs:
        if output not in visible:
            raise ModelError(f"the output {output.name!r} is made by nothing", file=file)
        if not output.name:
            raise ModelError("an output has no name", file=file)
    visible -= added
    names.difference_update(mine)


def _sort(graph: ir.Graph, file: str | Path | None) -> None:
    try:
        graph.sort()
    except ValueError:
        raise ModelError("the graph has a cycle", file=file, node=_in_cycle(graph)) from None


def _in_cycle(graph: ir.Graph) -> str | None:
    """A node of a cycle: what remains when nodes without open inputs are taken away again and again."""
    waiting = {node: {v.producer() for v in node.inputs if v is not None} - {None} for node in graph}
    users: dict[ir.Node | None, list[ir.Node]] = {}
    for node, needs in waiting.items():
        for need in needs:
            users.setdefault(need, []).append(node)
    ready = [node for node, needs in waiting.items() if not needs]
    while ready:
        done = ready.pop()
        waiting.pop(done)
        for user in users.get(done, ()):
            if user in waiting:
                waiting[user].discard(done)
                if not waiting[user]:
                    ready.append(user)
    return next((describe(node) for node in waiting), None)
