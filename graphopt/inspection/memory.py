"""How much memory the values between the nodes take at once, from shapes and the order of the nodes.

Every value has a buffer of its own from the node that makes it to the last that reads it; nothing is computed in
place, nothing is aliased. A runtime that does either needs less; one that keeps more, as im2col buffers, more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant, static_shape
from graphopt.support.partition import reads


@dataclass(frozen=True)
class Peak:
    """The most that is alive at once.

    Attributes:
        bytes: of values; weights are not counted, the inputs and outputs of the model are.
        node: where, None in a graph without nodes.
        unsized: values without a known size, which are left out.
    """

    bytes: int
    node: ir.Node | None
    unsized: int


def activation_peak(graph: ir.Graph) -> Peak:
    """Walk the nodes in their order and see when most is alive.

    Args:
        graph: its nodes in topological order; what the bodies of a node need at most is added while it runs.
    """
    nodes = list(graph)
    last: dict[ir.Value, int] = {}
    for place, node in enumerate(nodes):
        last.update(dict.fromkeys(reads(node), place))
    # The caller holds what it gives and what it gets.
    last.update(dict.fromkeys((*graph.inputs, *graph.outputs), len(nodes)))
    given = [value for value in graph.inputs if not value.is_initializer()]
    live, unsized = _sum(given)
    peak, at = live, None
    dying: list[list[ir.Value]] = [[] for _ in range(len(nodes) + 1)]
    for place, node in enumerate(nodes):
        made = [value for value in node.outputs if value.name and constant(value) is None]
        size, unknown = _sum(made)
        inner = [activation_peak(body) for body in bodies(node)]
        live, unsized = live + size, unsized + unknown + sum(one.unsized for one in inner)
        inside = max((one.bytes for one in inner), default=0)
        if live + inside > peak or at is None:
            peak, at = max(peak, live + inside), node
        for value in made:
            dying[last.get(value, place)].append(value)
        live -= _sum(dying[place])[0]
    return Peak(peak, at, unsized)


def value_bytes(value: ir.Value) -> int | None:
    """Bytes of a value; None where its shape is not static, its type not known, or its elements are texts."""
    shape = static_shape(value)
    if shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return None
    return math.ceil(math.prod(shape) * value.dtype.bitwidth / 8)


def _sum(values: list[ir.Value]) -> tuple[int, int]:
    """Bytes of all, and how many have no known size."""
    sizes = [value_bytes(value) for value in values]
    return sum(size or 0 for size in sizes), sum(size is None for size in sizes)
