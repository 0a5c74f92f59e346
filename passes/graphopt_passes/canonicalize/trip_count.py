"""How often a Loop runs its body, where that does not depend on the input of the model.

The number is given, or the condition is computed from nothing but the counter and constants: then that part of the body
is run by itself until the condition fails.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import bodies, constant
from graphopt.ir.evaluate import is_random
from graphopt.ir.symbolic import numbers, partial_of
from graphopt.verify.execute import ExecutionFailed, run

_MOST_ELEMENTS = 1 << 12
"""Elements of a value up to which it is worth computing for the sake of a condition."""


def known(value: ir.Value | None) -> int | None:
    """The content of a constant scalar, also where shape arithmetic makes it; None where it depends on the input."""
    tensor = constant(value)
    if tensor is not None:
        return int(tensor.numpy().reshape(-1)[0]) if tensor.size == 1 else None
    held = numbers(partial_of(value))
    return held[0] if held is not None and len(held) == 1 else None


def trip_count(loop: ir.Node, limit: int) -> int | None:
    """How often a Loop runs its body.

    Args:
        loop: the Loop.
        limit: turns beyond which a condition is not followed.

    Returns:
        None where that depends on the input, or is more than the limit for a condition.
    """
    given, asked = (loop.inputs[i] if i < len(loop.inputs) else None for i in (0, 1))
    most = None if given is None else known(given)
    if most is not None and most <= 0:
        return 0
    first = 1 if asked is None else known(asked)
    if first == 0:
        return 0
    if first is None or (given is not None and most is None):
        return None
    body = loop.attributes["body"].as_graph()
    end = _source(body.outputs[0])
    if end is body.inputs[1] or known(end) == 1:
        return most
    if known(end) == 0:
        return 1
    return _follow(loop, body, most, limit)


def _source(value: ir.Value) -> ir.Value:
    node = value.producer()
    while node is not None and node.op_type == "Identity" and not node.domain and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _follow(loop: ir.Node, body: ir.Graph, most: int | None, limit: int) -> int | None:
    """Run the part of the body that the condition needs, in a Loop of its own that counts its turns."""
    part = _part(body)
    if part is None:
        return None
    nodes, carried = part
    first = {body.inputs[index + 2]: constant(loop.inputs[index + 2]) for index in carried}
    if any(t is None or t.size > _MOST_ELEMENTS or t.dtype == ir.DataType.STRING for t in first.values()):
        return None
    turns = limit + 1 if most is None else min(most, limit + 1)
    model = _counting(body, nodes, {v: t for v, t in first.items() if t is not None}, turns)
    try:
        found = int(run(model, [{}])[0]["turns"])
    except ExecutionFailed:
        return None
    return found if found <= limit else None


def _part(body: ir.Graph) -> tuple[list[ir.Node], list[int]] | None:
    """The nodes that make the condition, in order, and the positions of the carried values that they read."""
    places = {value: index for index, value in enumerate(body.inputs[2:])}
    needed: set[ir.Node] = set()
    carried: dict[int, None] = {}
    waiting = [body.outputs[0]]
    while waiting:
        value = waiting.pop()
        if value in places:
            if places[value] not in carried:
                carried[places[value]] = None
                waiting.append(body.outputs[1 + places[value]])
            continue
        node = value.producer()
        if value is body.inputs[0] or value is body.inputs[1] or constant(value) is not None or node in needed:
            continue
        if node is None or node.graph is not body or node.domain or is_random(node) or any(True for _ in bodies(node)):
            return None
        needed.add(node)
        waiting.extend(v for v in node.inputs if v is not None)
    return [node for node in body if node in needed], sorted(carried)


def _counting(body: ir.Graph, nodes: list[ir.Node], first: dict[ir.Value, ir.TensorProtocol], most: int) -> ir.Model:
    """A model without inputs: a Loop that runs these nodes, from these carried values, and counts its turns."""
    copies: dict[ir.Value, ir.Value] = {}
    constants: list[ir.Value] = []

    def fixed(tensor: ir.TensorProtocol) -> ir.Value:
        value = ir.Value(name=f"c{len(constants)}", type=ir.TensorType(tensor.dtype), const_value=tensor)
        value.shape = ir.Shape(tensor.shape.numpy())
        constants.append(value)
        return value

    def copy(value: ir.Value | None) -> ir.Value | None:
        if value is not None and value not in copies:
            tensor = constant(value)
            copies[value] = ir.Value(name=f"v{len(copies)}") if tensor is None else fixed(tensor)
        return None if value is None else copies[value]

    scalar = ir.Shape([])
    for value, name, dtype in (
        (body.inputs[0], "turn", ir.DataType.INT64),
        (body.inputs[1], "go", ir.DataType.BOOL),
    ):
        copies[value] = ir.Value(name=name, type=ir.TensorType(dtype), shape=scalar)
    for value, tensor in first.items():
        copies[value] = ir.Value(name=f"state{len(copies)}", type=ir.TensorType(tensor.dtype))
    made = [
        ir.Node("", n.op_type, [copy(v) for v in n.inputs], n.attributes.values(), outputs=[copy(v) for v in n.outputs])  # type: ignore[misc]
        for n in nodes
    ]
    count = ir.Value(name="count", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
    made.append(ir.Node("", "Add", [count, fixed(ir.tensor(np.array(1, np.int64)))]))
    after = [body.outputs[0], *(body.outputs[1 + body.inputs.index(v) - 2] for v in first)]
    made += [ir.Node("", "Identity", [copy(v)]) for v in after]
    ends = [n.outputs[0] for n in made[len(nodes) :]]
    for index, value in enumerate(ends):
        value.name = f"end{index}"
    inner = ir.Graph(
        [copies[v] for v in (body.inputs[0], body.inputs[1], *first)] + [count], [*ends[1:], ends[0]], nodes=made,
        name="turn",
    )  # fmt: skip
    given = [fixed(ir.tensor(np.array(most, np.int64))), fixed(ir.tensor(np.array(True))), *map(fixed, first.values())]
    loop = ir.Node(
        "", "Loop", [*given, fixed(ir.tensor(np.array(0, np.int64)))], [ir.AttrGraph("body", inner)],
        num_outputs=len(first) + 1,
    )  # fmt: skip
    for index, value in enumerate(loop.outputs):
        value.name = f"out{index}"
    turns = loop.outputs[-1]
    turns.name, turns.type = "turns", ir.TensorType(ir.DataType.INT64)
    graph = ir.Graph([], [turns], nodes=[loop], initializers=constants, opset_imports=dict(body.opset_imports))
    graph.name = "count"
    return ir.Model(graph, ir_version=10)
