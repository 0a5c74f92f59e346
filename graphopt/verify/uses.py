"""Where does a value end up? Follow it through the nodes that only move or cast it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

HOPS = 12

_MOVES = {
    "Cast", "CastLike", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


def meanings(value: ir.Value, model: ir.Model) -> Iterator[tuple[ir.Node, int]]:
    """The uses of an input, through nodes that only move it; a use that moves it is not a meaning.

    Calls of model functions, bodies of Loop and Scan and branches of If are entered and left.

    Returns:
        Pairs of a node and the position of the value among its inputs, nearest first.
    """
    branches: dict[ir.Value, ir.Value] | None = None
    frontier, seen = [value], {value}
    for _ in range(HOPS):
        following: list[ir.Value] = []
        for moved in frontier:
            if moved.is_graph_output() and moved.graph is not model.graph:
                branches = _branches(model) if branches is None else branches
                if moved in branches:
                    following.append(branches[moved])
            for node, index in moved.uses():
                function = model.functions.get(node.op_identifier())
                if function is not None and index < len(function.inputs):
                    following.append(function.inputs[index])
                elif (body := _body_input(node, index)) is not None:
                    following.append(body)
                elif node.op_type in _MOVES and (index == 0 or node.op_type == "Concat"):
                    following.extend(node.outputs)
                else:
                    yield node, index
        frontier = [v for v in dict.fromkeys(following) if v not in seen]
        seen.update(frontier)


def _body_input(node: ir.Node, index: int) -> ir.Value | None:
    """What an input of a Loop or Scan is inside the body, where it is anything."""
    if node.op_type not in ("Loop", "Scan") or (node.op_type == "Loop" and index < 2):
        return None
    inputs = node.attributes["body"].as_graph().inputs
    return inputs[index] if index < len(inputs) else None


def _branches(model: ir.Model) -> dict[ir.Value, ir.Value]:
    """From each result of a branch of an If to the output of the If that it becomes."""
    return {
        inner: outer
        for node in model.graph.all_nodes()
        if node.op_type == "If"
        for branch in ("then_branch", "else_branch")
        for inner, outer in zip(node.attributes[branch].as_graph().outputs, node.outputs, strict=True)
    }
