"""Axes of reductions, in whichever form an opset writes them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.ir.schema import attribute, has_input, integers

AXES_AS_INPUT = {"ReduceSum": 13}
"""Opset from which the axes of a reduction are an input; 18 for all others."""
_OTHERS = 18


def reduced_axes(node: ir.Node) -> tuple[int, ...] | None:
    """The axes that a reduction goes over, sorted and not negative.

    Returns:
        None where the rank or the axes are not known.
    """
    shape = shape_of(node.inputs[0])
    if shape is None:
        return None
    rank = len(shape)
    axes = integers(node, "axes", 1)
    if axes is None and has_input(node, 1):
        return None
    if not axes:
        return () if attribute(node, "noop_with_empty_axes") else tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes)) if rank else ()


def keeps_dims(node: ir.Node) -> bool:
    """Whether a reduction keeps the axes that it goes over, with size 1."""
    return bool(attribute(node, "keepdims"))


def reduce(op, op_type: str, x, axes, *, keepdims: bool = True):
    """A reduction in the form of the opset; `axes` None goes over all."""
    if axes is not None and op.opset >= AXES_AS_INPUT.get(op_type, _OTHERS):
        return op.op(op_type, x, np.array(axes, np.int64), keepdims=int(keepdims))
    return op.op(op_type, x, axes=None if axes is None else list(axes), keepdims=int(keepdims))


def ends_at_last(axes: tuple[int, ...] | None, rank: int) -> bool:
    """Whether axes are one or more consecutive ones up to the last."""
    return bool(axes) and axes == tuple(range(rank - len(axes), rank))


def same_size(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    """Whether two dimensions are proven to be of one size; two without a name need not be."""
    return a == b and (isinstance(a, int) or a.value is not None)
