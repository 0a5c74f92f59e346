"""Small movements in whichever form an opset writes them: cut, take, pad and reshape with sizes that are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from graphopt.rewrite.rule import Builder

_SLICE_INPUTS: Final = 10
_PAD_INPUTS: Final = 11
_AXES_INPUT: Final = 13


def reshape(op: Builder, x: ir.Value, shape: Iterable[int]) -> ir.Value:
    """A Reshape to known sizes."""
    found: ir.Value = op.Reshape(x, np.array(list(shape), np.int64))
    return found


def transpose(op: Builder, x: ir.Value, perm: Iterable[int]) -> ir.Value:
    """A Transpose, left out where it changes nothing."""
    order = list(perm)
    found: ir.Value = x if order == sorted(order) else op.Transpose(x, perm=order)
    return found


def take(op: Builder, x: ir.Value, indices: Sequence[int], axis: int, size: int) -> ir.Value:
    """The elements of an axis of `size` at known places: x itself, a Slice of evenly spaced ones, or a Gather."""
    places = [int(place) for place in indices]
    if places == list(range(size)):
        return x
    step = places[1] - places[0] if len(places) > 1 else 1
    even = step > 0 and places == list(range(places[0], places[0] + step * len(places), step))
    if even and (step == 1 or op.opset >= _SLICE_INPUTS):
        return _slice(op, x, places[0], places[-1] + 1, axis, step)
    found: ir.Value = op.Gather(x, np.array(places, np.int64), axis=axis)
    return found


def _slice(op: Builder, x: ir.Value, start: int, end: int, axis: int, step: int) -> ir.Value:
    found: ir.Value
    if op.opset < _SLICE_INPUTS:
        found = op.Slice(x, starts=[start], ends=[end], axes=[axis])
    else:
        given = (start, end, axis) if step == 1 else (start, end, axis, step)
        found = op.Slice(x, *(np.array([one], np.int64) for one in given))
    return found


def pad(
    op: Builder, x: ir.Value, before: Sequence[int], after: Sequence[int], fill: float = 0, *, dtype: Any = np.float32
) -> ir.Value:
    """x with constants around it; left out where there are none. Amounts must not be negative, one for each axis.

    `dtype` is numpy's of x; before opset 11 a floating-point one.
    """
    amounts = [*before, *after]
    if not any(amounts):
        return x
    found: ir.Value
    if op.opset < _PAD_INPUTS:
        found = op.Pad(x, pads=amounts, mode="constant", value=float(fill))
    else:
        found = op.Pad(x, np.array(amounts, np.int64), np.array(fill, dtype), mode="constant")
    return found


def unsqueeze(op: Builder, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """An Unsqueeze in the form of the opset."""
    found: ir.Value
    if op.opset >= _AXES_INPUT:
        found = op.Unsqueeze(x, np.array(list(axes), np.int64))
    else:
        found = op.Unsqueeze(x, axes=list(axes))
    return found
