"""Which units matter least: an order for every family, with what their removal costs as far as can be foretold.

    l1, l2      magnitude of the weights that make a channel
    fpgm        distance to the other channels' weights (geometric median, He et al. 2019, arXiv:1811.00250)
    bn          scale of the BatchNormalization behind (Liu et al. 2017, arXiv:1708.06519); l2 where there is none
    activation  energy that a channel brings to its readers: Σ w² · Var x
    obs         error that is left in its readers after they make up for it (second order, from H = E[x xᵀ]): removing
                channels u costs tr(W_u (H⁻¹)_uu⁻¹ W_uᵀ), and the rest becomes W − W_u (H⁻¹)_uu⁻¹ (H⁻¹)_u:
                (Hassibi & Stork 1992; structured: Kurtic et al. 2023, arXiv:2302.04089)

The costs of all criteria are shares of a whole (of the weights, or of a reader's energy), so families compare.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.channels.graph import Axis, Cells, ChannelGraph
from graphopt.channels.groups import Family
from graphopt.channels.layers import Layer, producers, readers_of
from graphopt.channels.statistics import Moments
from graphopt.ir.edit import constant, nodes_of
from graphopt.verify.types import Array

Criterion: TypeAlias = Literal["l1", "l2", "fpgm", "bn", "activation", "obs"]
MEASURED = ("activation", "obs")
"""Criteria that need samples."""

_RIDGE = 1e-2
_STEPS = 64


@dataclass(frozen=True, eq=False)
class Ranking:
    """The units of a family in the order in which they should leave.

    Attributes:
        family: whose.
        order: indices of its units, least important first.
        costs: what the removal of the first k costs together, shape (units + 1,), from 0, never falling.
    """

    family: Family
    order: Cells
    costs: Array


class Criteria:
    """Ranks the families of a model.

    Args:
        model: only looked at.
        graph: its channel graph.
        kind: the criterion.
        moments: of what layers read, for the criteria that are measured.
    """

    def __init__(
        self, model: ir.Model, graph: ChannelGraph, kind: Criterion, moments: Mapping[ir.Value, Moments]
    ) -> None:
        self.graph, self.kind, self.moments = graph, kind, moments
        self._producers: dict[Axis, list[ir.Value]] = {}
        for value, axis in producers(model, graph):
            self._producers.setdefault(axis, []).append(value)
        self._readers: dict[Axis, list[Layer]] = {}
        for layer in readers_of(model, graph):
            self._readers.setdefault(graph.axis(layer.x, layer.along), []).append(layer)
        self._scales = [
            scale
            for node in nodes_of(model.graph)
            if node.op_type == "BatchNormalization" and node.inputs[1] is not None
            if (scale := graph.find(node.inputs[1], 0)) is not None and constant(node.inputs[1]) is not None
        ]
        self._inverses: dict[Axis, Array] = {}

    def rank(self, family: Family) -> Ranking:
        """The order of a family's units."""
        if self.kind == "obs":
            tables = [table for axis in family.axes if (table := self._table(axis, family)) is not None]
            if tables:
                order, costs = _eliminate(tables, len(family.units))
                return Ranking(family, order, costs)
        shares = self._shares(family)
        order = np.argsort(shares, kind="stable")
        return Ranking(family, order, np.concatenate([[0.0], np.cumsum(shares[order])]))

    def readers(self, axis: Axis) -> list[Layer]:
        """The layers that sum over an axis."""
        return self._readers.get(axis, [])

    def producers(self, axes: Sequence[Axis]) -> list[tuple[ir.Value, Axis]]:
        """The weights that make the entries of some axes."""
        return [(value, axis) for axis in axes for value in self._producers.get(axis, ())]

    def regression(self, axis: Axis, gone: Cells) -> Array | None:
        """What the other channels hold of those that leave: −(H⁻¹)_uu⁻¹ (H⁻¹)_u:, zero at the leaving ones."""
        inverse = self._inverse(axis)
        if inverse is None or not len(gone):
            return None
        shares = -np.linalg.solve(inverse[np.ix_(gone, gone)], inverse[gone])
        shares[:, gone] = 0
        return shares

    def mean(self, axis: Axis) -> Array | None:
        """The means of an axis that layers read."""
        readers = self._readers.get(axis)
        moments = self.moments.get(readers[0].x) if readers else None
        return None if moments is None or not moments.count else moments.total / moments.count

    def _inverse(self, axis: Axis) -> Array | None:
        readers = self._readers.get(axis)
        moments = self.moments.get(readers[0].x) if readers else None
        if moments is None or not moments.count or moments.square.ndim == 1:
            return None
        if axis not in self._inverses:
            self._inverses[axis] = np.linalg.inv(_shrunk(moments.covariance(), moments.independent))
        return self._inverses[axis]

    def _shares(self, family: Family) -> Array:
        """What each unit has of the family's whole, summing to about 1."""
        if self.kind == "activation":
            energies = [e for axis in family.axes if (e := self._energy(axis, family)) is not None]
            if energies:
                return np.mean(energies, axis=0)  # type: ignore[no-any-return]
        if self.kind == "bn":
            scales = [axis for axis in self._scales if axis in family.axes]
            if scales:
                return np.mean([_sums(family, axis, np.abs(_array(axis))) for axis in scales], axis=0)  # type: ignore[no-any-return]
        found = []
        for axis in family.axes:
            for value in self._producers.get(axis, ()):
                assert isinstance(axis.index, int)
                tensor = constant(value)
                assert tensor is not None
                rows = np.moveaxis(tensor.numpy().astype(np.float64), axis.index, 0).reshape(axis.size, -1)
                found.append(_sums(family, axis, self._magnitude(rows)))
        return np.mean(found, axis=0) if found else np.full(len(family.units), 1 / len(family.units))

    def _magnitude(self, rows: Array) -> Array:
        if self.kind == "l1":
            return np.abs(rows).sum(axis=1)  # type: ignore[no-any-return]
        squares = np.square(rows).sum(axis=1)
        if self.kind == "fpgm":
            distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
            return np.sqrt(np.maximum(distances, 0)).sum(axis=1)  # type: ignore[no-any-return]
        return squares  # type: ignore[no-any-return]

    def _energy(self, axis: Axis, family: Family) -> Array | None:
        readers = self._readers.get(axis)
        moments = self.moments.get(readers[0].x) if readers else None
        if readers is None or moments is None or not moments.count:
            return None
        covariance = moments.covariance()
        variance = covariance if covariance.ndim == 1 else np.diag(covariance)
        return _sums(family, axis, sum(np.diag(_gram(one)) for one in readers) * variance)

    def _table(self, axis: Axis, family: Family) -> _Table | None:
        """What a family's entries of one axis cost its readers, None where nothing reads it by weights."""
        readers = self._readers.get(axis)
        moments = self.moments.get(readers[0].x) if readers else None
        if readers is None or moments is None or not moments.count:
            return None
        entries = _entries(family, axis)
        chosen = np.concatenate(entries)
        if not len(chosen):
            return None
        covariance = moments.covariance()
        if covariance.ndim == 1:
            weights = sum(_normed(np.diag(gram) * covariance) for gram in map(_gram, readers))
            return _Table(entries, None, np.asarray(weights)[chosen])
        inverse = self._inverse(axis)
        assert inverse is not None
        grams = sum(gram / max(float((gram * covariance).sum()), 1e-30) for gram in map(_gram, readers))
        pick = np.ix_(chosen, chosen)
        return _Table(entries, inverse[pick].copy(), np.asarray(grams)[pick].copy())


def _shrunk(covariance: Array, count: float) -> Array:
    """A covariance drawn towards its diagonal as far as its few observations ask for, so that it can be inverted.

    The oracle approximating shrinkage of the correlations R of p channels from n observations, with
    ρ = ((1 − 2/p) tr R² + p²) / ((n + 1 − 2/p)(tr R² − p))   (Chen et al. 2010, arXiv:0907.4698, equation 23).
    """
    p = len(covariance)
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-12 * max(float(np.diag(covariance).max(initial=0)), 1e-20)))
    correlation = covariance / np.outer(spread, spread)
    square = float(np.square(correlation).sum())
    share = ((1 - 2 / p) * square + p * p) / max((count + 1 - 2 / p) * (square - p), 1e-12)
    share = float(np.clip(share, _RIDGE, 1.0))
    mixed = (1 - share) * correlation + share * np.eye(p)
    return mixed * np.outer(spread, spread)


@dataclass
class _Table:
    """A reader's view of a family: which of its entries each unit has, H⁻¹ and WᵀW among them (or entry costs)."""

    entries: list[Cells]
    inverse: Array | None
    gram: Array

    def __post_init__(self) -> None:
        ends = np.cumsum([0, *(len(one) for one in self.entries)])
        self.places = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
        self._single = all(len(one) == 1 for one in self.places)
        self._left = np.ones(len(self.gram), bool)

    def scores(self, units: Sequence[int]) -> Array:
        """What the removal of each unit alone costs now."""
        if self.inverse is None:
            return np.array([self.gram[self.places[unit]].sum() for unit in units])
        if self._single:
            at = np.array([int(self.places[unit][0]) for unit in units])
            return self.gram[at, at] / np.maximum(self.inverse[at, at], 1e-30)  # type: ignore[no-any-return]
        return np.array([self._cost(self.places[unit]) for unit in units])

    def remove(self, units: Sequence[int]) -> float:
        """Remove units together; the cost."""
        at = np.concatenate([self.places[unit] for unit in units])
        if self.inverse is None or not len(at):
            return float(self.gram[at].sum()) if len(at) else 0.0
        cost = self._cost(at)
        share = np.linalg.solve(self.inverse[np.ix_(at, at)], self.inverse[at])
        # G − T − Tᵀ + Sᵀ G_uu S with T = G_:u S is U S + (U S)ᵀ: one product instead of several passes over memory.
        half = 0.5 * (share.T @ self.gram[np.ix_(at, at)]) - self.gram[:, at]
        self.gram += np.hstack([half, share.T]) @ np.vstack([share, half.T])
        self.inverse -= self.inverse[:, at] @ share
        # What left must not be moved by rounding again.
        self.inverse[at, at] = 1.0
        self._left[at] = False
        if self._left.sum() < 0.7 * len(self._left):
            self._compact()
        return cost

    def _compact(self) -> None:
        assert self.inverse is not None
        kept = np.flatnonzero(self._left)
        numbers = np.cumsum(self._left) - 1
        self.gram, self.inverse = self.gram[np.ix_(kept, kept)], self.inverse[np.ix_(kept, kept)]
        self.places = [numbers[one] if self._left[one].all() else one[:0] for one in self.places]
        self._left = np.ones(len(kept), bool)

    def _cost(self, at: Cells) -> float:
        if not len(at):
            return 0.0
        assert self.inverse is not None
        square = np.ix_(at, at)
        return max(float(np.trace(np.linalg.solve(self.inverse[square], self.gram[square]))), 0.0)


def _eliminate(tables: list[_Table], count: int) -> tuple[Cells, Array]:
    """Let units leave one after the other (several at a time in wide families), the cheapest first."""
    left, order, costs = list(range(count)), [], [0.0]
    step = -(-count // _STEPS)
    while left:
        scores = sum(table.scores(left) for table in tables)
        leaving = [left[place] for place in np.argsort(scores, kind="stable")[:step]]
        cost = sum(table.remove(leaving) for table in tables)
        costs.extend(costs[-1] + cost * (place + 1) / len(leaving) for place in range(len(leaving)))
        order.extend(leaving)
        gone = set(leaving)
        left = [one for one in left if one not in gone]
    return np.array(order), np.array(costs)


def _gram(layer: Layer) -> Array:
    """Σ over outputs and taps of the products of weights of two inputs, shape (inputs, inputs)."""
    matrix = layer.matrix()
    groups, _, size, _ = matrix.shape
    whole = np.zeros((groups * size, groups * size))
    for number, part in enumerate(matrix):
        rows = part.transpose(1, 0, 2).reshape(size, -1)
        at = slice(number * size, (number + 1) * size)
        whole[at, at] = rows @ rows.T
    return whole


def _array(axis: Axis) -> Array:
    assert isinstance(axis.owner, ir.Value)
    tensor = constant(axis.owner)
    assert tensor is not None
    return tensor.numpy().astype(np.float64)


def _entries(family: Family, axis: Axis) -> list[Cells]:
    """For each unit, its entries of an axis."""
    found = []
    for unit in family.units:
        low, high = np.searchsorted(unit.cells, [axis.start, axis.start + axis.size])
        found.append(unit.cells[low:high] - axis.start)
    return found


def _sums(family: Family, axis: Axis, weights: Array) -> Array:
    return _normed(np.array([weights[entries].sum() for entries in _entries(family, axis)]))


def _normed(weights: Array) -> Array:
    return weights / max(float(weights.sum()), 1e-30)
