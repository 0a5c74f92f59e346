"""Pair nodes that stand beside pairs: the same operator at the same place, at most one other node in between.

From every pair it spreads to what makes its inputs and to what reads its outputs; where that stops, a node that only
one model has may stand in between, and is stepped over. Every pair is looked at twice, so this is linear in the edges.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator

import onnx_ir as ir

from graphopt.ir.edit import readers

Pair = tuple[ir.Node, ir.Node]
_FEW = 8
"""Readers of one value that are stepped over, one at a time."""


def spread(
    pairs: Iterable[Pair],
    entrances: Iterable[tuple[ir.Value, ir.Value]],
    free: Callable[[ir.Node], bool],
    settle: Callable[[ir.Node, ir.Node], None],
) -> None:
    """Pair neighbors of pairs, and theirs, until nothing is left beside a pair.

    Args:
        pairs: nodes that are paired.
        entrances: inputs of the models that are one and the same.
        free: whether a node is still to be paired.
        settle: told each new pair.
    """
    near, beyond = deque(pairs), deque[Pair]()

    def take(found: Iterable[Pair]) -> None:
        for mine, theirs in found:
            if free(mine) and free(theirs) and _operator(mine) == _operator(theirs):
                settle(mine, theirs)
                near.append((mine, theirs))

    for values in entrances:
        take(_readers(*values, free))
    while near or beyond:
        if near:
            a, b = near.popleft()
            beyond.append((a, b))
            take(_makers(a, b))
            for values in zip(a.outputs, b.outputs, strict=False):
                take(_readers(*values, free))
        else:
            take(_stepped(*beyond.popleft(), free))


def _makers(a: ir.Node, b: ir.Node) -> Iterator[Pair]:
    for mine, theirs in zip(a.inputs, b.inputs, strict=False):
        one, other = (value.producer() if value is not None else None for value in (mine, theirs))
        if one is not None and other is not None:
            yield one, other


def _readers(a: ir.Value, b: ir.Value, free: Callable[[ir.Node], bool]) -> Iterator[Pair]:
    """Readers of two values, of each operator that one reader on either side has."""
    mine, theirs = (_by_operator(_free_readers(value, free)) for value in (a, b))
    for operator, group in mine.items():
        other = theirs.get(operator, ())
        if len(group) == len(other) == 1:
            yield group[0], other[0]


def _stepped(a: ir.Node, b: ir.Node, free: Callable[[ir.Node], bool]) -> Iterator[Pair]:
    """Pairs one step further on one side: behind a node, or before it, that has no counterpart here."""
    for mine, theirs in zip(a.outputs, b.outputs, strict=False):
        for node in _free_readers(mine, free)[:_FEW]:
            for value in node.outputs:
                yield from _readers(value, theirs, free)
        for node in _free_readers(theirs, free)[:_FEW]:
            for value in node.outputs:
                yield from _readers(mine, value, free)
    for one, other in _makers(a, b):
        if free(one):
            yield from ((maker, other) for maker in _before(one))
        if free(other):
            yield from ((one, maker) for maker in _before(other))


def _free_readers(value: ir.Value, free: Callable[[ir.Node], bool]) -> list[ir.Node]:
    return [node for node in dict.fromkeys(readers(value)) if free(node)]


def _by_operator(nodes: Iterable[ir.Node]) -> dict[tuple[str, str], list[ir.Node]]:
    found: dict[tuple[str, str], list[ir.Node]] = defaultdict(list)
    for node in nodes:
        found[_operator(node)].append(node)
    return found


def _before(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        if maker is not None:
            yield maker


def _operator(node: ir.Node) -> tuple[str, str]:
    return node.domain, node.op_type
