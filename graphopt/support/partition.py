"""The partition that a fallback creates: which nodes run together, and what crosses between the two sides.

Each node has a side: on the target, or not. Its stage is the number of changes of side on the worst path to it, so a
stage runs as one piece, stages run one after another and no cycle between pieces can arise. Both choices of the side
that starts are tried; the one with fewer stages is the answer, and no schedule in stages of one side has fewer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.ir.edit import bodies, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Segment:
    """Nodes that run together.

    Attributes:
        supported: whether on the target.
        nodes: in the order of the graph.
    """

    supported: bool
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True)
class Partition:
    """How a graph falls apart.

    Attributes:
        segments: in the order in which they run.
        crossing: values that one side makes and the other reads.
        crossing_bytes: their size, weights not counted; values of unknown size are left out of it.
        unsized: how many crossing values have no static size.
    """

    segments: tuple[Segment, ...]
    crossing: tuple[ir.Value, ...]
    crossing_bytes: int
    unsized: int


def partition(nodes: Sequence[ir.Node], unsupported: Collection[ir.Node]) -> Partition:
    """Cut a graph into segments by where its nodes run.

    Args:
        nodes: one graph's nodes in topological order; what is inside a node's bodies runs where the node runs.
        unsupported: those that cannot run on the target.
    """
    off = set(unsupported)
    tries = [_stages(nodes, off, first) for first in (True, False)]
    stages = min(tries, key=lambda stage: len(set(stage.values())))
    grouped: dict[int, list[ir.Node]] = {}
    for node in nodes:
        grouped.setdefault(stages[node], []).append(node)
    segments = tuple(Segment(group[0] not in off, tuple(group)) for _, group in sorted(grouped.items()))
    crossing = {
        value: None
        for node in nodes
        for value in reads(node)
        if (maker := value.producer()) in stages and (maker in off) != (node in off)
    }
    sizes = [size(value) for value in crossing]
    known = [item for item in sizes if item is not None]
    return Partition(segments, tuple(crossing), sum(known), len(sizes) - len(known))


def _stages(nodes: Sequence[ir.Node], off: set[ir.Node], target_first: bool) -> dict[ir.Node, int]:
    stages: dict[ir.Node, int] = {}
    for node in nodes:
        mine = node in off
        stage = int(mine == target_first)
        for value in reads(node):
            maker = value.producer()
            if maker is not None and maker in stages:
                stage = max(stage, stages[maker] + ((maker in off) != mine))
        stages[node] = stage
    return stages


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """Values that a node reads, with those that its bodies capture from outside."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        inside = set(body.all_nodes())
        for inner in inside:
            yield from (value for value in inner.inputs if value is not None and value.producer() not in inside)
        yield from (value for value in body.outputs if value is not None and value.producer() not in inside)


def size(value: ir.Value) -> int | None:
    """Bytes of a value, None where its shape is not static or its dtype not known."""
    dims = static_shape(value)
    if dims is None or value.dtype is None:
        return None
    return math.ceil(math.prod(dims) * value.dtype.bitwidth / 8)
