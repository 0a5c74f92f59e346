"""A layered drawing of a directed acyclic graph, in time linear in what it draws.

After Sugiyama, Tagawa and Toda (1981): rows by longest path, order within rows by barycenters, and places as near to a
node's neighbors as the others of its row allow. A value that several nodes read far below runs down as one line, with
a bend in every row that it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_GAP = 20.0
_BEND = 14.0
_SWEEPS = 4
_STRAIGHT = 8.0
"""How much more a line wants to run straight than a node wants to be below its neighbors."""

_Neighbors = Sequence[Sequence[int]]
_AROUND = 40
"""Rows above and below one that it is centered with."""


@dataclass(frozen=True)
class Layout:
    """Where nodes lie.

    Attributes:
        rows: of each node, from 0.
        x: the middle of each node.
        lines: of each node, the x of its value's line in the rows below it, as far down as it is drawn.
    """

    rows: list[int]
    x: list[float]
    lines: list[list[float]]


def layered(edges: Sequence[tuple[int, int]], widths: Sequence[float], bends: int | None = None) -> Layout:
    """Lay a graph out from top to bottom.

    Args:
        edges: pairs of positions (from, to), the first below the second; others are not drawn.
        widths: of the nodes, in pixels; their number is the number of nodes.
        bends: how many bends all lines together may have, 6 a node where None; the longest lines go without.
    """
    count = len(widths)
    pairs = sorted({(a, b) for a, b in edges if a < b})
    rows = _rows(count, pairs)
    spans = [0] * count
    for a, b in pairs:
        spans[a] = max(spans[a], rows[b] - rows[a] - 1)
    left = 6 * count + 1000 if bends is None else bends
    for node in sorted(range(count), key=spans.__getitem__):
        left -= spans[node]
        if left < 0:
            spans[node] = 0
    places = _Places(count, pairs, rows, spans, widths)
    x = places.settle()
    return Layout(rows, x[:count], [[x[bend] for bend in places.lines[node]] for node in range(count)])


def _rows(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from the top; what has more readers than sources then moves down to them, which shortens lines."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in pairs:
        above[b].append(a)
        below[a].append(b)
    rows = [0] * count
    for node in range(count):
        rows[node] = max((rows[a] + 1 for a in above[node]), default=0)
    for node in reversed(range(count)):
        if len(below[node]) > len(above[node]):
            rows[node] = min(rows[b] for b in below[node]) - 1
    return rows


class _Places:
    """Nodes and bends in their rows; a bend is a narrow node of its own."""

    def __init__(
        self, count: int, pairs: Sequence[tuple[int, int]], rows: list[int], spans: list[int], widths: Sequence[float]
    ) -> None:
        self.count = count
        self.widths = [*widths]
        self.lines: list[list[int]] = []
        self.layers: list[list[int]] = [[] for _ in range(max(rows, default=-1) + 1)]
        for node in range(count):
            self.layers[rows[node]].append(node)
        for node in range(count):
            line = range(len(self.widths), len(self.widths) + spans[node])
            self.lines.append(list(line))
            self.widths.extend(_BEND for _ in line)
            for down, bend in enumerate(line, rows[node] + 1):
                self.layers[down].append(bend)
        self.up: list[list[int]] = [[] for _ in self.widths]
        self.down: list[list[int]] = [[] for _ in self.widths]
        for node, line_ in enumerate(self.lines):
            for one, other in zip([node, *line_], line_, strict=False):
                self._join(one, other)
        for a, b in pairs:
            depth = rows[b] - rows[a] - 1
            if depth == 0:
                self._join(a, b)
            elif spans[a]:
                self._join(self.lines[a][depth - 1], b)

    def _join(self, one: int, other: int) -> None:
        self.down[one].append(other)
        self.up[other].append(one)

    def settle(self) -> list[float]:
        """The x of every node and bend, the leftmost edge at 0.

        A sweep downward and one upward lean to different sides; their mean keeps all gaps.
        """
        self._order()
        x = [0.0] * len(self.widths)
        for _ in range(_SWEEPS):
            down, up = x, x.copy()
            for layer in self.layers:
                self._put(layer, self.up, self.down, down)
            for layer in reversed(self.layers):
                self._put(layer, self.down, self.up, up)
            x = [(one + other) / 2 for one, other in zip(down, up, strict=True)]
        self._center(x)
        edge = min((x[n] - self.widths[n] / 2 for n in range(len(x))), default=0.0)
        return [round(place - edge, 1) for place in x]

    def _center(self, x: list[float]) -> None:
        """Keep a deep graph from wandering off: rows move by the mean of the rows around them, which bends no line."""
        sums = list(accumulate((sum(x[n] for n in layer) / len(layer) for layer in self.layers), initial=0.0))
        for row, layer in enumerate(self.layers):
            first, end = max(0, row - _AROUND), min(len(self.layers), row + _AROUND + 1)
            mean = (sums[end] - sums[first]) / (end - first)
            for node in layer:
                x[node] -= mean

    def _order(self) -> None:
        """Sort each row by the mean position of its neighbors in the row before, down and up again."""
        position = [0.0] * len(self.widths)
        for sweep in range(4):
            downward = sweep % 2 == 0
            near = self.up if downward else self.down
            for layer in self.layers if downward else reversed(self.layers):
                wish = {n: sum(position[o] for o in near[n]) / len(near[n]) for n in layer if near[n]}
                for rank, node in enumerate(layer):
                    wish.setdefault(node, rank / max(len(layer) - 1, 1))
                layer.sort(key=wish.__getitem__)
                for rank, node in enumerate(layer):
                    position[node] = (rank + 0.5) / len(layer)

    def _put(self, layer: Sequence[int], near: _Neighbors, far: _Neighbors, x: list[float]) -> None:
        """Place a row below (or above) its neighbors, and what has none there near those on the other side.

        Σ w (x - wanted)² is least among all places that keep the order and the gaps. Without the gaps that is
        isotonic regression, by pooling adjacent violators (Ayer et al., 1955).
        """
        pools: list[tuple[float, float, int]] = []  # mean, weight, members
        offsets: list[float] = []
        for node in layer:
            before = layer[len(offsets) - 1]
            step = (self.widths[before] + self.widths[node]) / 2 + _GAP
            offsets.append(offsets[-1] + step if offsets else 0.0)
            others = [other for other in near[node] if near[other]] or near[node] or far[node]
            wish = sum(x[o] for o in others) / len(others) if others else x[node]
            straight = node >= self.count and len(others) == 1 and others[0] >= self.count
            weight = _STRAIGHT if straight else 1.0 if near[node] else 0.1
            mean, members = wish - offsets[-1], 1
            while pools and pools[-1][0] > mean:
                other_mean, other_weight, other_members = pools.pop()
                mean = (mean * weight + other_mean * other_weight) / (weight + other_weight)
                weight, members = weight + other_weight, members + other_members
            pools.append((mean, weight, members))
        place = iter(zip(layer, offsets, strict=True))
        for mean, _, members in pools:
            for _ in range(members):
                node, offset = next(place)
                x[node] = mean + offset
