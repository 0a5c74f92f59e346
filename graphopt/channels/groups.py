"""From relations to what can leave: the smallest sets of cells that may be removed, and the families they form.

Cells that `same` ties are one class. A product makes an implication (a factor's entry takes its slab of the whole
along) and a choice (an entry of the whole leaves only with one of its factors' entries). The closure of a class under
both is a *unit*: what leaves together. Units that live on the same axes are a *family*: the channels of one layer and
of all that is coupled with it. The union of units keeps every relation that each of them keeps.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from graphopt.channels.graph import Axis, Cells, ChannelGraph

_CHOICES = 64
"""Choices that one closure may try before its class counts as pinned."""


@dataclass(frozen=True, eq=False)
class Unit:
    """What leaves together.

    Attributes:
        cells: all its cells, sorted.
        mixed: whether what stays changes value beyond what the unit contributed.
    """

    cells: Cells
    mixed: bool


@dataclass(frozen=True, eq=False)
class Family:
    """Units on the same axes, ordered by their first cells.

    Attributes:
        axes: the axes that they live on.
        units: at least two.
    """

    axes: tuple[Axis, ...]
    units: tuple[Unit, ...]

    @property
    def mixed(self) -> bool:
        """Whether removing any of it changes what stays."""
        return any(unit.mixed for unit in self.units)


class Classes:
    """Cells that are tied, as classes; which of them are pinned, and what follows from what.

    Args:
        graph: the relations.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.graph = graph
        self.of = _congruent(graph)
        self.count = int(self.of.max(initial=-1)) + 1
        self.pinned = np.zeros(self.count, bool)
        self.mixed = np.zeros(self.count, bool)
        for pin in graph.pins:
            self.pinned[self.of[pin.cells]] = True
        for cells in graph.mixed:
            self.mixed[self.of[cells]] = True
        for axis in graph.axes:
            if axis.size == 1:
                self.pinned[self.of[axis.cells]] = True
        self.products = [(self.of[one.whole], self.of[one.factors]) for one in graph.products]
        self._spread_pins()
        self._as_factor: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._as_whole: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, (whole, factors) in enumerate(self.products):
            for place, row in enumerate(factors):
                for one in np.unique(row[~self.pinned[row]]):
                    self._as_factor[int(one)].append((number, place))
            for position in np.flatnonzero(~self.pinned[whole]):
                self._as_whole[int(whole[position])].append((number, int(position)))
        self._slabs: dict[tuple[int, int], dict[int, Cells]] = {}
        order = np.argsort(self.of, kind="stable")
        self._cells = np.split(order, np.searchsorted(self.of[order], np.arange(1, self.count)))

    def _spread_pins(self) -> None:
        """A factor of a pinned entry is pinned; an entry all of whose factors are pinned is pinned."""
        before = -1
        while before != (now := int(self.pinned.sum())):
            before = now
            for whole, factors in self.products:
                for row in factors:
                    self.pinned[row[self.pinned[whole]]] = True
                self.pinned[whole[self.pinned[factors].all(axis=0)]] = True

    def units(self) -> list[Unit]:
        """The distinct closures of all classes that can leave."""
        found: dict[frozenset[int], None] = {}
        for one in np.flatnonzero(~self.pinned):
            seed = int(one)
            # An entry of a flattened axis never leaves alone: its factors' closures hold it.
            if seed in self._as_whole:
                continue
            closed = self._close({seed}, [seed], [_CHOICES])
            if closed is not None:
                found[frozenset(closed)] = None
        smallest = _without_unions(list(found))
        return [self._unit(classes) for classes in smallest]

    def _unit(self, classes: frozenset[int]) -> Unit:
        cells = np.sort(np.concatenate([self._cells[one] for one in classes]))
        return Unit(cells, bool(self.mixed[list(classes)].any()))

    def _close(self, gone: set[int], waiting: list[int], budget: list[int]) -> set[int] | None:
        """The smallest closed set that holds `gone`; None where something pinned would have to leave.

        Args:
            gone: what has left; added to.
            waiting: those of them whose consequences are not drawn yet; emptied.
            budget: how many choices may still be tried, one number, counted down.
        """
        while waiting:
            one = waiting.pop()
            if self.pinned[one]:
                return None
            for number, place in self._as_factor.get(one, ()):
                for other in self._slab(number, place, one):
                    if other not in gone:
                        gone.add(other)
                        waiting.append(other)
        for one in sorted(gone):
            for number, position in self._as_whole.get(one, ()):
                choices = self.products[number][1][:, position].tolist()
                if not any(choice in gone for choice in choices):
                    return self._choose(gone, number, choices, budget)
        return gone

    def _choose(self, gone: set[int], number: int, choices: list[int], budget: list[int]) -> set[int] | None:
        """Let the factor leave whose slab costs least; the next one where that meets something pinned."""

        def cost(place: int) -> int:
            return sum(one not in gone for one in self._slab(number, place, choices[place]))

        for place in sorted((p for p, c in enumerate(choices) if not self.pinned[c]), key=cost):
            budget[0] -= 1
            if budget[0] < 0:
                return None
            closed = self._close(gone | {choices[place]}, [choices[place]], budget)
            if closed is not None:
                return closed
        return None

    def _slab(self, number: int, place: int, factor: int) -> list[int]:
        """The classes of a product's whole that leave with a factor's entry."""
        if (number, place) not in self._slabs:
            whole, factors = self.products[number]
            pairs = np.unique(np.stack([factors[place], whole]), axis=1)
            ends = np.flatnonzero(np.diff(pairs[0], append=-1)) + 1
            parts = np.split(pairs[1], ends[:-1])
            self._slabs[number, place] = {int(pairs[0][end - 1]): part for end, part in zip(ends, parts, strict=True)}
        return self._slabs[number, place][factor].tolist()  # type: ignore[no-any-return]


def families(graph: ChannelGraph, classes: Classes | None = None) -> list[Family]:
    """The families of a model: each can lose any of its units, as long as every axis keeps an entry."""
    classes = classes or Classes(graph)
    owner = np.repeat(np.arange(len(graph.axes)), [axis.size for axis in graph.axes])
    found: dict[tuple[int, ...], list[Unit]] = defaultdict(list)
    for unit in classes.units():
        found[tuple(np.unique(owner[unit.cells]).tolist())].append(unit)
    made = []
    for axes, units in found.items():
        if len(units) > 1:
            ordered = sorted(units, key=lambda unit: int(unit.cells[0]))
            made.append(Family(tuple(graph.axes[one] for one in axes), tuple(ordered)))
    return sorted(made, key=lambda family: family.axes[0].start)


def _without_unions(sets: list[frozenset[int]]) -> list[frozenset[int]]:
    """Drop the sets that are made of smaller ones."""
    holders: dict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(sets):
        for member in one:
            holders[member].append(number)
    kept = []
    for number, one in enumerate(sets):
        inside = {other for member in one for other in holders[member] if other != number and sets[other] < one}
        covered = frozenset().union(*(sets[other] for other in inside))
        if covered != one:
            kept.append(one)
    return kept


def _congruent(graph: ChannelGraph) -> Cells:
    """The class of each cell: ties, and factors alike of axes that are the same."""
    ties = list(graph.ties)
    while True:
        of = _components(graph.count, ties)
        first: dict[tuple[bytes, bytes], Cells] = {}
        before = len(ties)
        for product in graph.products:
            # Where each row of factors changes tells their sizes.
            key = of[product.whole].tobytes(), (product.factors - product.factors[:, :1]).tobytes()
            other = first.setdefault(key, product.factors)
            if not np.array_equal(of[other], of[product.factors]):
                ties.extend(zip(other, product.factors, strict=True))
        if len(ties) == before:
            return of


def _components(count: int, ties: list[tuple[Cells, Cells]]) -> Cells:
    """The class of each cell, numbered from 0 in the order of their first cells (hooking and pointer jumping)."""
    label = np.arange(count)
    if ties:
        left, right = (np.concatenate(side) for side in zip(*ties, strict=True))
        while True:
            a, b = label[left], label[right]
            apart = a != b
            if not apart.any():
                break
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            np.minimum.at(label, np.maximum(a, b), np.minimum(a, b))
            while not np.array_equal(label, label[label]):
                label = label[label]
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
