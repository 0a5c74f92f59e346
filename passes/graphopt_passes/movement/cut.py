"""The cheapest way to divide a graph in two: a minimum cut, by Dinic's algorithm."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

FOREVER = 1 << 30
"""Capacity of an edge that must not be cut."""


class Network:
    """A directed graph with capacities between a source and a sink; nodes are whatever is hashable.

    An edge from X to Y is cut, and costs its capacity, where X lies on the source's side and Y on the sink's.
    E. A. Dinic, "Algorithm for solution of a problem of maximum flow in networks with power estimation", 1970.
    """

    SOURCE, SINK = "source", "sink"

    def __init__(self) -> None:
        self._number: dict[Hashable, int] = {}
        self._edges: list[list[int]] = []
        self._to: list[int] = []
        self._room: list[int] = []
        self._source, self._sink = self._index(self.SOURCE), self._index(self.SINK)

    def _index(self, node: Hashable) -> int:
        number = self._number.setdefault(node, len(self._number))
        if number == len(self._edges):
            self._edges.append([])
        return number

    def edge(self, start: Hashable, end: Hashable, capacity: int = FOREVER) -> None:
        """Add an edge; its reverse is implied with no capacity."""
        a, b = self._index(start), self._index(end)
        self._edges[a].append(len(self._to))
        self._edges[b].append(len(self._to) + 1)
        self._to += [b, a]
        self._room += [capacity, 0]

    def cut(self) -> tuple[int, set[Hashable]]:
        """The cost of the cheapest cut, and the nodes on the sink's side: as few as that cost allows."""
        flow = 0
        while True:
            level = self._levels()
            if level[self._sink] < 0:
                break
            flow += self._saturate(level)
        beside = self._reaching_sink()
        return flow, {node for node, number in self._number.items() if number in beside}

    def _levels(self) -> list[int]:
        level = [-1] * len(self._edges)
        level[self._source] = 0
        waiting = deque([self._source])
        while waiting:
            node = waiting.popleft()
            for edge in self._edges[node]:
                if self._room[edge] and level[self._to[edge]] < 0:
                    level[self._to[edge]] = level[node] + 1
                    waiting.append(self._to[edge])
        return level

    def _saturate(self, level: list[int]) -> int:
        """Fill shortest paths until none is left; without recursion, since paths may be as long as the graph."""
        position = [0] * len(self._edges)
        path: list[int] = []
        node, total = self._source, 0
        while True:
            if node == self._sink:
                amount = min(self._room[edge] for edge in path)
                for edge in path:
                    self._room[edge] -= amount
                    self._room[edge ^ 1] += amount
                total += amount
                node, path = self._source, []
                continue
            while position[node] < len(self._edges[node]):
                edge = self._edges[node][position[node]]
                if self._room[edge] and level[self._to[edge]] == level[node] + 1:
                    path.append(edge)
                    node = self._to[edge]
                    break
                position[node] += 1
            else:
                if not path:
                    return total
                node = self._to[path.pop() ^ 1]
                position[node] += 1

    def _reaching_sink(self) -> set[int]:
        found, waiting = {self._sink}, [self._sink]
        while waiting:
            for edge in self._edges[waiting.pop()]:
                before = self._to[edge]
                if self._room[edge ^ 1] and before not in found:
                    found.add(before)
                    waiting.append(before)
        return found
