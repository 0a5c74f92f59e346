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
    return _with_ones(order, after)


def side_by_side(before: Sequence[int], after: Sequence[int], where: Layout) -> tuple[Layout, Layout] | None:
    """The layouts before and after a reshape where the elements must move: next to each other within each run alone.

    The runs keep the order in which their last axes are stored, so that what was last stays last: a channel shuffle
    of an image that is stored with its channels last stays in that layout.

    Args:
        before: ONNX shape before the reshape.
        after: ONNX shape after it.
        where: the layout of the value before.

    Returns:
        None where the reshape does not fall into runs.
    """
    runs = _runs(before, after)
    if runs is None:
        return None
    place = {axis: at for at, axis in enumerate(where)}
    runs.sort(key=lambda run: place[run[0][-1]])
    first = [axis for old, _ in runs for axis in old]
    return _with_ones(first, before), _with_ones([axis for _, new in runs for axis in new], after)


def _with_ones(order: list[int], shape: Sequence[int]) -> Layout:
    placed = list(order)
    for axis, dim in enumerate(shape):
        if dim == 1:
            placed.insert(min(axis, len(placed)), axis)
    return tuple(placed)


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
