"""The cut that a network finds is the cheapest there is, with as little as possible on the sink's side."""

from __future__ import annotations

import itertools
import random

import pytest

from graphopt_passes.movement.cut import FOREVER, Network

Edges = list[tuple[str, str, int]]


def cost(edges: Edges, beside: frozenset[str]) -> int:
    return sum(c for a, b, c in edges if a not in beside and b in beside)


def sides(nodes: str) -> list[frozenset[str]]:
    return [
        frozenset({*some, Network.SINK})
        for count in range(len(nodes) + 1)
        for some in itertools.combinations(nodes, count)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_no_other_division_is_cheaper_and_none_as_cheap_is_smaller(seed: int) -> None:
    source, nodes = random.Random(seed), "abcdef"
    ends = [Network.SOURCE, *nodes], [*nodes, Network.SINK]
    edges = [(source.choice(ends[0]), source.choice(ends[1]), source.randint(1, 3)) for _ in range(14)]
    network = Network()
    for start, end, capacity in edges:
        network.edge(start, end, capacity)
    found, beside = network.cut()
    best = min(cost(edges, side) for side in sides(nodes))
    assert found == best == cost(edges, frozenset(str(n) for n in beside))
    assert len(beside) == min(len(side) for side in sides(nodes) if cost(edges, side) == best)


def test_an_edge_without_limit_is_never_cut() -> None:
    network = Network()
    network.edge(Network.SOURCE, "a", 3)
    network.edge("a", "b", FOREVER)
    network.edge("b", Network.SINK, 2)
    assert network.cut() == (2, {Network.SINK})


def test_a_path_of_5000_nodes_needs_no_recursion() -> None:
    network = Network()
    for number in range(5000):
        network.edge(number or Network.SOURCE, number + 1, 2)
    network.edge(5000, Network.SINK, 1)
    assert network.cut()[0] == 1
