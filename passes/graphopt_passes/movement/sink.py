"""Try other layouts on a whole graph, region by region, for as long as nodes fall away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from graphopt.ir.edit import bodies, nodes_of
from graphopt_passes.movement.region import Region, Sides
from graphopt_passes.movement.rewriter import Rewriter

Seeds = list[tuple[Sides, list[tuple[ir.Node, int]]]]
"""Pairs of layouts worth a try, each with nodes from which its regions grow, and their sides."""
_ROUNDS = 8
_VISITS = 16
"""Nodes that regions may have for each node of the graph, in a round: a bound for graphs with very many layouts."""


def sink(model: ir.Model, made_by: str, seeds: Callable[[ir.Graph], Seeds]) -> tuple[int, int]:
    """Compute regions of the main graph and of bodies in the layouts that `seeds` names, wherever that saves nodes.

    Returns:
        How many regions changed, and how many nodes that saves.
    """
    rewriter = Rewriter(model, made_by)
    changed, saved = 0, 0
    for graph in [model.graph, *(body for node in nodes_of(model.graph) for body in bodies(node))]:
        for _ in range(_ROUNDS):
            before = changed
            for region in _regions(graph, seeds(graph)):
                gain = region.solve()
                if region.flipped:
                    rewriter.apply(region)
                    changed, saved = changed + 1, saved + gain
            if changed == before:
                break
    for graph in rewriter.touched:
        graph.sort()
    return changed, saved


def _regions(graph: ir.Graph, seeds: Seeds) -> Iterator[Region]:
    left = _VISITS * len(graph)
    for sides, starts in seeds:
        seen: set[ir.Node] = set()
        for start, side in starts:
            if start.graph is not graph or start in seen or left <= 0:
                continue
            region = Region(start, side, sides)
            seen.update(region.nodes)
            left -= 1 + len(region.nodes)
            if region.nodes:
                yield region
