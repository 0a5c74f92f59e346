"""Reshapes that respect a layout: when splitting and merging axes can be done on the tensor as it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt_backends.tflite.layout import Layout


def regroup(before: Sequence[int], after: Sequence[int], where: Layout) -> Layout | None:
    """The layout of a reshaped value whose stored elements need not move.

    A reshape falls into the smallest runs of axes with equal products: [N, C, H·W] from [N, C, H, W] merges the run
    (H, W) and keeps N and C. It can be done on a stored tensor if the axes of each run are stored next to each other
    and in order; then the runs keep their stored order. Axes of length 1 go anywhere.

    Args:
        before: ONNX shape before the reshape.
        after: ONNX shape after it.
        where: the layout of the value before.

    Returns:
        A layout of the value after, None if the elements must move.
    """
    runs = _runs(before, after)
    if runs is None:
        return None
    stored = [axis for axis in where if before[axis] != 1]
    by_first = {old[0]: (old, new) for old, new in runs}
    order: list[int] = []
    while stored:
        old, new = by_first.get(stored[0], ([], []))
        if not old or stored[: len(old)] != old:
            return None
        order += new
        stored = stored[len(old) :]
    for axis, dim in enumerate(after):
        if dim == 1:
            order.insert(min(axis, len(order)), axis)
    return tuple(order)


def _runs(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    old = [axis for axis, dim in enumerate(before) if dim != 1]
    new = [axis for axis, dim in enumerate(after) if dim != 1]
    runs, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        first, second, left, right = i, j, before[old[i]], after[new[j]]
        while left != right:
            if left < right:
                i += 1
                if i == len(old):
                    return None
                left *= before[old[i]]
            else:
                j += 1
                if j == len(new):
                    return None
                right *= after[new[j]]
        i, j = i + 1, j + 1
        runs.append((old[first:i], new[second:j]))
    return runs if i == len(old) and j == len(new) else None
