"""Loops of which the graph itself says that they never end: nobody has to wait to find out."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from graphopt.ir.edit import constant, nodes_of, owners
from graphopt.ir.validate import describe

TOO_MANY = 10**8
"""Turns of a loop beyond which it counts as endless: a turn takes onnxruntime some ten microseconds."""


def endless_loops(model: ir.Model) -> Iterator[str]:
    """The names of the Loops that no condition ends and whose number of turns is missing or too large."""
    for owner in owners(model):
        for node in nodes_of(owner):
            if node.op_type == "Loop" and not node.domain and _is_endless(node):
                yield describe(node)


def _is_endless(node: ir.Node) -> bool:
    turns, condition = (*node.inputs, None, None)[:2]
    body = node.attributes["body"].as_graph() if "body" in node.attributes else None
    if body is None or len(body.inputs) < 2 or not body.outputs:
        return False
    many = turns is None or ((known := constant(turns)) is not None and int(known.numpy().reshape(-1)[0]) > TOO_MANY)
    return many and (condition is None or _is_true(condition)) and _goes_on(body)


def _goes_on(body: ir.Graph) -> bool:
    """Whether the condition that a body hands on is true whenever the one that it was given is."""
    value: ir.Value | None = body.outputs[0]
    while value is not None and value is not body.inputs[1]:
        if _is_true(value):
            return True
        node = value.producer()
        if node is None or node.op_type != "Identity" or node.domain:
            return False
        value = node.inputs[0]
    return value is not None


def _is_true(value: ir.Value) -> bool:
    held = constant(value)
    return held is not None and held.size == 1 and bool(held.numpy().reshape(-1)[0])
