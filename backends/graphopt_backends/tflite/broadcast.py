"""Shapes under broadcasting, brought down to the ranks that LiteRT's broadcasting kernels really handle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Several kernels broadcast up to four axes and check more only in debug builds.
MAXIMUM_RANK = 4


def result(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that `shapes` broadcast to."""
    return tuple(int(dim) for dim in np.broadcast_shapes(*(tuple(shape) for shape in shapes)))


def needs_collapse(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether the operands broadcast, and over more axes than every kernel handles."""
    return len({tuple(shape) for shape in shapes}) > 1 and max(map(len, shapes)) > MAXIMUM_RANK


def collapse(shapes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The same broadcast over the fewest axes: neighbors that all operands treat alike become one axis."""
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    groups: list[tuple[tuple[bool, ...], list[int]]] = []
    for axis in range(rank):
        pattern = tuple(shape[axis] == 1 for shape in full)
        if all(pattern):
            continue
        if groups and groups[-1][0] == pattern:
            groups[-1][1].append(axis)
        else:
            groups.append((pattern, [axis]))
    return [tuple(int(np.prod([shape[axis] for axis in axes])) for _, axes in groups) for shape in full]
