"""The channel-dependency graph: which entries of which axes must leave a model together.

Every axis of every value is a node. An operator relates axes by index: `same` says that entry i of one axis is entry
j of another (equal, concatenated, split, gathered, permuted), `product` that an axis is flattened from others, `pin`
that entries cannot leave, `mix` that the entries that stay would change value when others leave (a mean over the
axis). Everything else, as Conv's input channels beside its output channels, is independent.

Entries of all axes are numbered through: these numbers are the *cells*. The pruning of pictures of dependencies is
due to DepGraph (Fang et al. 2023, arXiv:2301.12900); cells make the index mappings exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import networkx
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Cells: TypeAlias = NDArray[np.int64]
Shapes: TypeAlias = "Mapping[ir.Value, tuple[int, ...]]"

_MOST_CELLS = 1 << 22
"""Entries of a flattened axis beyond which it is pinned instead of followed."""


class UnknownShape(Exception):
    """A relation needs the shape of a value that is not known."""

    def __init__(self, value: ir.Value) -> None:
        super().__init__(f"the shape of {value.name!r} is not known")


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a value, or one that only an operator knows, as the groups of a Conv.

    Attributes:
        owner: the value, or the node.
        index: which axis of the value, or the name of the node's own axis.
        start: number of its first cell.
        size: its entries.
    """

    owner: ir.Value | ir.Node
    index: int | str
    start: int
    size: int

    @property
    def cells(self) -> Cells:
        """The numbers of its entries."""
        return np.arange(self.start, self.start + self.size)

    def __str__(self) -> str:
        return f"{self.owner.name or 'unnamed'}[{self.index}]"


@dataclass(frozen=True, eq=False)
class Product:
    """An axis flattened from others, the first varying slowest: entry i of `whole` leaves iff one of its factors does.

    Attributes:
        whole: cells of the flattened axis, shape (n,).
        factors: for each factor, the cell that entry i of the whole belongs to, shape (factors, n).
    """

    whole: Cells
    factors: Cells


@dataclass(frozen=True, eq=False)
class Pin:
    """Entries that cannot leave, and why."""

    cells: Cells
    reason: str


@dataclass(frozen=True, eq=False)
class Shuffle:
    """Reshape, Transpose and Reshape that do nothing but put the entries of one axis into another order.

    Attributes:
        source: what is shuffled.
        axis: which axis of it.
        order: entry i of the result is entry order[i] of the source.
    """

    source: ir.Value
    axis: int
    order: Cells


class ChannelGraph:
    """All axes of a model and the relations between them.

    Args:
        shapes: the sizes of every value whose shape is known.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.axes: list[Axis] = []
        self.ties: list[tuple[Cells, Cells]] = []
        self.products: list[Product] = []
        self.pins: list[Pin] = []
        self.mixed: list[Cells] = []
        self.shuffles: dict[ir.Node, Shuffle] = {}
        self.picture = networkx.MultiGraph()
        self.count = 0
        self._known: dict[tuple[ir.Value | ir.Node, int | str], Axis] = {}

    def shape(self, value: ir.Value) -> tuple[int, ...]:
        """The shape of a value.

        Raises:
            UnknownShape: it is not known.
        """
        if value not in self.shapes:
            raise UnknownShape(value)
        return self.shapes[value]

    def axis(self, value: ir.Value, index: int) -> Axis:
        """The axis of a value; negative indices count from the last."""
        shape = self.shape(value)
        index = index % len(shape)
        return self._axis(value, index, shape[index])

    def inner(self, node: ir.Node, name: str, size: int) -> Axis:
        """An axis that only an operator knows; the same node and name give the same axis."""
        return self._axis(node, name, size)

    def find(self, owner: ir.Value | ir.Node, index: int | str) -> Axis | None:
        """An axis that some relation has spoken of, else None."""
        return self._known.get((owner, index))

    def axes_of(self, value: ir.Value) -> list[Axis]:
        """The axes of a value that relations have spoken of, in order."""
        rank = len(self.shapes.get(value, ()))
        return [one for index in range(rank) if (one := self.find(value, index)) is not None]

    def same(self, a: Axis, b: Axis, at_a: Cells | None = None, at_b: Cells | None = None, kind: str = "equal") -> None:
        """Entries `at_a` of one axis are the entries `at_b` of the other; all of them where not told.

        Args:
            a, b: the axes.
            at_a, at_b: indices into them, of the same length.
            kind: a word for the picture: equal, concat, split, gather, permuted.
        """
        left = a.cells if at_a is None else a.start + np.asarray(at_a, np.int64)
        right = b.cells if at_b is None else b.start + np.asarray(at_b, np.int64)
        if len(left) != len(right):
            raise ValueError(f"{a} and {b} do not match: {len(left)} entries and {len(right)}")
        if len(left):
            self.ties.append((left, right))
            self.picture.add_edge(a, b, kind=kind)

    def product(self, whole: Axis, factors: Sequence[Axis]) -> None:
        """`whole` is flattened from `factors`, the last varying fastest."""
        factors = [one for one in factors if one.size != 1]
        if len(factors) == 1:
            self.same(whole, factors[0])
            return
        if math.prod(one.size for one in factors) != whole.size:
            raise ValueError(f"{whole} is not the product of {', '.join(map(str, factors))}")
        for one in factors:
            self.picture.add_edge(whole, one, kind="factor")
        if whole.size > _MOST_CELLS:
            for one in (whole, *factors):
                self.pin(one, "it is flattened with too many others to be followed")
        elif factors and whole.size:
            grid = np.indices([one.size for one in factors]).reshape(len(factors), -1)
            starts = np.array([[one.start] for one in factors])
            self.products.append(Product(whole.cells, grid + starts))

    def pin(self, axis: Axis, reason: str, at: Cells | None = None) -> None:
        """Entries of an axis (all, where not told) cannot leave."""
        cells = axis.cells if at is None else axis.start + np.asarray(at, np.int64)
        self.pins.append(Pin(cells, reason))
        self.picture.nodes[axis]["pinned"] = reason

    def mix(self, axis: Axis) -> None:
        """What stays of this axis changes its value when entries leave, beyond what they contributed."""
        self.mixed.append(axis.cells)
        self.picture.nodes[axis]["mixed"] = True

    def pin_all(self, values: Iterable[ir.Value | None], reason: str) -> None:
        """Pin every axis of some values, as far as their shapes are known."""
        for value in values:
            if value is not None and value in self.shapes:
                for index in range(len(self.shapes[value])):
                    self.pin(self.axis(value, index), reason)

    def _axis(self, owner: ir.Value | ir.Node, index: int | str, size: int) -> Axis:
        key = (owner, index)
        if key not in self._known:
            axis = Axis(owner, index, self.count, size)
            self._known[key] = axis
            self.axes.append(axis)
            self.picture.add_node(axis)
            self.count += size
        return self._known[key]
