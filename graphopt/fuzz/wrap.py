"""A piece put inside something: a branch, a loop, a scan, or a function of the model's own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

DOMAIN = "fuzz"
"""Operator set of the functions that random models bring along."""


class Parts:
    """The parts of a piece, to be put into a model: nodes, initializers, functions, and the values it makes.

    Args:
        proto: the piece, as a model of its own.
        shown: names of the values that it makes and others may read.
    """

    def __init__(self, proto: Any, shown: list[str]) -> None:
        self.nodes, self.constants, self.functions = list(proto.graph.node), list(proto.graph.initializer), list[Any]()
        self.inputs = {value.name: value for value in proto.graph.input}
        self.outputs = {value.name: value for value in proto.graph.output}
        self.shown = shown
        self.opsets = {opset.domain: opset.version for opset in proto.opset_import}
        self.extra: dict[str, tuple[np.ndarray, ...]] = {}
        """Inputs that the wrapping adds, with their content by turns."""


def _typed(name: str, like: Any) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, like.type.tensor_type.elem_type, None)


def _condition(parts: Parts, source: random.Random, prefix: str) -> str:
    import onnx

    name = f"{prefix}condition"
    if source.random() < 0.3:
        parts.constants.append(onnx.numpy_helper.from_array(np.array(source.random() < 0.5), name))
    else:
        parts.extra[name] = (np.array(True), np.array(False))
        parts.inputs[name] = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, [])
    return name


def branch(parts: Parts, source: random.Random, prefix: str) -> None:
    """An If whose one branch is the piece, and whose other one does the same and a little more."""
    import onnx

    condition = _condition(parts, source, prefix)
    other = []
    for node in parts.nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        made = {name for n in parts.nodes for name in n.output if name}
        copy.name = f"else_{node.name}" if node.name else ""
        copy.input[:] = [f"else_{name}" if name in made else name for name in node.input]
        copy.output[:] = [f"else_{name}" if name else "" for name in node.output]
        other.append(copy)
    ends = []
    for name, value in parts.outputs.items():
        number = value.type.tensor_type.elem_type in (1, 10, 11)
        ends.append(f"{name}_else")
        other.append(onnx.helper.make_node("Neg" if number else "Identity", [f"else_{name}"], [ends[-1]]))
    inside = _inside(parts, source)
    bodies = [
        onnx.helper.make_graph(nodes, f"{prefix}{kind}", [], [_typed(n, v) for n, v in zip(names, like, strict=True)])
        for kind, nodes, names, like in (
            ("then", parts.nodes, list(parts.outputs), parts.outputs.values()),
            ("else", other, ends, parts.outputs.values()),
        )
    ]
    bodies[0].initializer.extend(inside)
    used = {name for node in other for name in node.input}
    bodies[1].initializer.extend(_named(t, t.name) for t in inside if t.name in used)
    results = [f"{prefix}if_{name}" for name in parts.outputs]
    order = bodies if source.random() < 0.5 else bodies[::-1]
    node = onnx.helper.make_node(
        "If", [condition], results, name=f"{prefix}if", then_branch=order[0], else_branch=order[1]
    )
    _end(parts, node, results)


def loop(parts: Parts, source: random.Random, prefix: str) -> None:
    """A Loop that runs the piece 1 to 3 times, carries a count, and collects what the piece makes."""
    import onnx

    trips, start, condition = f"{prefix}trips", f"{prefix}start", f"{prefix}go"
    constants = parts.constants
    inside = _inside(parts, source)
    trip = np.array(source.randint(1, 3))  # of no turn at all, the elements of what is collected have no shape
    if source.random() < 0.6:
        constants.append(onnx.numpy_helper.from_array(trip, trips))
    else:
        parts.extra[trips] = (trip, np.array(2))
        parts.inputs[trips] = onnx.helper.make_tensor_value_info(trips, onnx.TensorProto.INT64, [])
    constants.append(onnx.numpy_helper.from_array(np.float32(0), start))
    constants.append(onnx.numpy_helper.from_array(np.array(True), condition))
    boundary: dict[str, tuple[int, list[int]]] = {"i": (7, []), "c": (9, []), "s": (1, [])}
    inputs = [
        onnx.helper.make_tensor_value_info(f"{prefix}{name}", kind, shape) for name, (kind, shape) in boundary.items()
    ]
    body = [
        *parts.nodes,
        onnx.helper.make_node("Cast", [f"{prefix}i"], [f"{prefix}f"], to=1),
        onnx.helper.make_node("Add", [f"{prefix}s", f"{prefix}f"], [f"{prefix}t"]),
        onnx.helper.make_node("Identity", [f"{prefix}c"], [f"{prefix}d"]),
    ]
    outputs = [
        onnx.helper.make_tensor_value_info(f"{prefix}d", 9, []),
        onnx.helper.make_tensor_value_info(f"{prefix}t", 1, []),
        *(_typed(name, value) for name, value in parts.outputs.items()),
    ]
    graph = onnx.helper.make_graph(body, f"{prefix}body", inputs, outputs, inside)
    results = [f"{prefix}sum", *(f"{prefix}loop_{name}" for name in parts.outputs)]
    given = [trips, condition if source.random() < 0.7 else "", start]
    _end(parts, onnx.helper.make_node("Loop", given, results, name=f"{prefix}loop", body=graph), results)


def scan(parts: Parts, source: random.Random, prefix: str) -> None:
    """A Scan over a fresh sequence, whose elements stand for one of the piece's inputs."""
    import onnx

    name = next((n for n, v in parts.inputs.items() if v.type.tensor_type.elem_type == 1 and _fixed(v)), None)
    if name is None:
        return loop(parts, source, prefix)
    shape = [dim.dim_value for dim in parts.inputs[name].type.tensor_type.shape.dim]
    steps, inner = f"{prefix}steps", f"{prefix}step"
    length = source.randint(1, 3)
    numbers = np.random.default_rng(source.getrandbits(32))
    parts.extra[steps] = tuple(numbers.standard_normal((length, *shape)).astype(np.float32) for _ in range(2))
    parts.inputs[steps] = onnx.helper.make_tensor_value_info(steps, 1, [length, *shape])
    for node in parts.nodes:
        node.input[:] = [inner if one == name else one for one in node.input]
    read = {one for node in parts.nodes for one in node.input}
    if inner not in read:
        return loop(parts, source, prefix)
    element = onnx.helper.make_tensor_value_info(inner, 1, shape)
    outputs = [_typed(n, v) for n, v in parts.outputs.items()]
    graph = onnx.helper.make_graph(parts.nodes, f"{prefix}body", [element], outputs, _inside(parts, source))
    results = [f"{prefix}scan_{n}" for n in parts.outputs]
    node = onnx.helper.make_node("Scan", [steps], results, name=f"{prefix}scan", body=graph, num_scan_inputs=1)
    return _end(parts, node, results)


def function(parts: Parts, source: random.Random, prefix: str) -> None:
    """A function of the model's own, called once or twice; a branch where it would hold what the standard lacks."""
    import onnx

    # onnxruntime crashes where a function holds what it adds to the default domain, as SimplifiedLayerNormalization.
    if any(not node.domain and not onnx.defs.has(node.op_type) for node in parts.nodes):
        return branch(parts, source, prefix)
    name = f"F{prefix.strip('_')}"
    held = [onnx.helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in parts.constants]
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in parts.opsets.items()]
    parts.functions.append(
        onnx.helper.make_function(DOMAIN, name, list(parts.inputs), list(parts.outputs), [*held, *parts.nodes], opsets)
    )
    parts.constants, calls, results = [], [], list[str]()
    for time in range(source.randint(1, 2)):
        made = [f"{prefix}call{time}_{one}" for one in parts.outputs]
        calls.append(onnx.helper.make_node(name, list(parts.inputs), made, name=f"{prefix}call{time}", domain=DOMAIN))
        results += made
    parts.opsets[DOMAIN] = 1
    parts.nodes, parts.shown = calls, results
    return None


def _fixed(value: Any) -> bool:
    return all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)


def _named(tensor: Any, name: str) -> Any:
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _inside(parts: Parts, source: random.Random) -> list[Any]:
    """The constants that move into the body; the others stay around it."""
    moved = [tensor for tensor in parts.constants if source.random() < 0.5]
    for tensor in moved:
        parts.constants.remove(tensor)
    return moved


def _end(parts: Parts, node: Any, results: list[str]) -> None:
    parts.nodes, parts.shown = [node], results


WRAPS: tuple[Callable[[Parts, random.Random, str], None], ...] = (branch, branch, loop, scan, function, function)
"""What a piece may be put inside, the commoner ones more than once."""
