"""What relations have in common: attributes, constants, axes that correspond under broadcasting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.channels.graph import Axis, ChannelGraph
from graphopt.ir.edit import constant

WINDOW = "a window slides over it"
ORDER = "its entries are compared with one another"


def value_of(node: ir.Node, index: int) -> ir.Value | None:
    """The input at an index, None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def flag(node: ir.Node, name: str, default: int = 0) -> int:
    """An integer attribute."""
    return node.attributes[name].as_int() if name in node.attributes else default


def integers(node: ir.Node, name: str, index: int | None = None) -> list[int] | None:
    """A list of integers given as an attribute or as a constant input; None where it is absent or computed."""
    if name in node.attributes:
        return list(node.attributes[name].as_ints())
    value = value_of(node, index) if index is not None else None
    tensor = constant(value)
    return None if tensor is None else [int(one) for one in tensor.numpy().reshape(-1)]


def is_computed(node: ir.Node, index: int) -> bool:
    """Whether an input is there and is no constant."""
    value = value_of(node, index)
    return value is not None and constant(value) is None


def align(graph: ChannelGraph, value: ir.Value, out: ir.Value) -> None:
    """Relate a value with what it is broadcast to: axes counted from the last; an axis of one entry says nothing."""
    shape, target = graph.shape(value), graph.shape(out)
    for back in range(1, min(len(shape), len(target)) + 1):
        if shape[-back] == target[-back] and shape[-back] != 1:
            graph.same(graph.axis(value, -back), graph.axis(out, -back))


def follow(graph: ChannelGraph, value: ir.Value, out: ir.Value, pairs: Iterable[tuple[int, int]]) -> None:
    """Relate axes of two values pair by pair; a pair of unequal sizes is pinned."""
    for a, b in pairs:
        left, right = graph.axis(value, a), graph.axis(out, b)
        if left.size == right.size:
            graph.same(left, right)
        else:
            graph.pin(left, "its size changes on the way")
            graph.pin(right, "its size changes on the way")


def along(graph: ChannelGraph, value: ir.Value | None, out: ir.Value, axis: int) -> None:
    """Relate the only long axis of a vector with an axis of `out`; a value of one entry says nothing."""
    if value is None:
        return
    long = [one for one, size in enumerate(graph.shape(value)) if size != 1]
    if len(long) == 1:
        graph.same(graph.axis(value, long[0]), graph.axis(out, axis))


def present(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    """The values that are there."""
    return [value for value in values if value is not None]


def flatten(graph: ChannelGraph, value: ir.Value, out: ir.Value, node: ir.Node) -> None:
    """Relate two row-major views of the same elements: axes that split into others or merge with them.

    Walking both shapes from the left, a block ends where as many elements are passed on either side; in a block of
    one axis on either side they are equal, else the axis is flattened from the block's others.
    """
    left = [axis for axis, size in enumerate(graph.shape(value)) if size != 1]
    right = [axis for axis, size in enumerate(graph.shape(out)) if size != 1]
    if 0 in (*graph.shape(value), *graph.shape(out)):
        graph.pin_all((value, out), "it is empty")
        return
    number = 0
    while left and right:
        a, b = [left.pop(0)], [right.pop(0)]
        size_a, size_b = graph.shape(value)[a[0]], graph.shape(out)[b[0]]
        while size_a != size_b:
            if size_a < size_b:
                a.append(left.pop(0))
                size_a *= graph.shape(value)[a[-1]]
            else:
                b.append(right.pop(0))
                size_b *= graph.shape(out)[b[-1]]
        inside = [graph.axis(value, one) for one in a]
        outside = [graph.axis(out, one) for one in b]
        if len(a) == 1:
            graph.product(inside[0], outside)
        elif len(b) == 1:
            graph.product(outside[0], inside)
        else:
            _regroup(graph, inside, outside, node, f"block {number}")
        number += 1


def _regroup(graph: ChannelGraph, left: list[Axis], right: list[Axis], node: ir.Node, name: str) -> None:
    """Several axes become several others: both are flattened from the factors that they have in common."""
    ends = [list(np.cumprod([one.size for one in side])) for side in (left, right)]
    cuts = sorted({int(end) for side in ends for end in side})
    steps = [1, *cuts]
    if all(b % a == 0 for a, b in itertools.pairwise(steps)):
        sizes = [b // a for a, b in itertools.pairwise(steps)]
        factors = [graph.inner(node, f"{name} factor {place}", size) for place, size in enumerate(sizes)]
        for side, its_ends in zip((left, right), ends, strict=True):
            start = 0
            for axis, end in zip(side, its_ends, strict=True):
                stop = cuts.index(int(end)) + 1
                graph.product(axis, factors[start:stop])
                start = stop
        return
    whole = graph.inner(node, name, cuts[-1])
    graph.product(whole, left)
    graph.product(whole, right)
