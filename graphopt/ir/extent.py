"""How large is a model once its functions are written out, and how deep? A short file can say what never ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphopt.errors import ModelError

if TYPE_CHECKING:
    import onnx

DEEPEST = 30
"""Bodies inside bodies; protobuf reads a few more than it can write again."""
MOST_NODES = 10_000_000
"""Nodes of a model whose functions are written out."""

_Operator: TypeAlias = tuple[str, str, str]


def refuse_deep(depth: int, file: Path | None) -> None:
    """Refuse a body at this depth.

    Raises:
        ModelError: it is deeper than `DEEPEST`.
    """
    if depth > DEEPEST:
        raise ModelError(f"nests bodies of If, Loop and Scan more than {DEEPEST} deep", file=file)


def refuse_unbounded(proto: onnx.ModelProto, file: Path | None) -> None:
    """Refuse functions that cannot be written out where they are called.

    Raises:
        ModelError: functions call each other in a ring; or they make more than `MOST_NODES` nodes.
    """
    if not proto.functions:
        return
    held = {(f.domain, f.name, f.overload): _operators(f.node) for f in proto.functions}
    calls = {one: [other for other in operators if other in held] for one, operators in held.items()}
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        ring = " → ".join(name for _, name, _ in error.args[1])
        raise ModelError(f"the functions call each other in a ring ({ring})", file=file) from None
    nodes: dict[_Operator, int] = {}
    for one in order:
        nodes[one] = sum(count * nodes.get(other, 1) for other, count in held[one].items())
    whole = sum(count * nodes.get(other, 1) for other, count in _operators(proto.graph.node).items())
    if whole > MOST_NODES:
        raise ModelError(f"its functions make more than {MOST_NODES:,} nodes where they are called", file=file)


def _operators(nodes: Iterable[onnx.NodeProto]) -> Counter[_Operator]:
    """How often each operator is there, in bodies as well."""
    found: Counter[_Operator] = Counter()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        found[node.domain, node.op_type, node.overload] += 1
        for attribute in node.attribute:
            waiting.extend(attribute.g.node)
            for graph in attribute.graphs:
                waiting.extend(graph.node)
    return found
