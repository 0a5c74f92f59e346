"""What becomes of the mask when attention is fused: a mask that Attention reads as the written-out form did.

Attention leaves out a query whose every key is shut out (it answers 0), where a Softmax of nothing but -inf makes NaN
and one of nothing but the lowest number makes a mean; onnxruntime's kernel takes the lowest number for -inf as well.
So a mask must be proven free of such rows, or finite; numbers near the lowest one are raised to a modest one, which
shuts a key out as well and leaves the mean of a row where all are shut out. The kernel does not broadcast the last two
dimensions of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.infer import dims_of
from graphopt.ir.symbolic import Dim
from graphopt.rewrite.rule import Builder
from graphopt_passes.fuse.bounds import bounds

_ONE = Dim.of(1)
_LARGEST = 1 << 24
"""Elements of a constant mask beyond which it is not looked into."""
_SHUT = {ir.DataType.FLOAT: -1e30, ir.DataType.FLOAT16: -6e4}
"""A bias that shuts a key out as well as the lowest number of a type does, and is none."""


def shape_problem(masks: Sequence[ir.Value], scores: Sequence[Dim]) -> str | None:
    """Why these masks cannot be given to Attention by their shapes, None where they can.

    Args:
        masks: what is added to the scores.
        scores: dimensions of the scores, [batch, heads, queries, keys] or [batch, queries, keys].
    """
    for mask in masks:
        dims = dims_of(mask)
        if dims is None or len(dims) > len(scores):
            return "the shape of the mask is not known"
        for dim, wanted in zip(reversed(dims), reversed(scores), strict=False):
            if dim not in (wanted, _ONE):
                return f"the mask has {dim} where the scores have {wanted}"
        if not dims or dims[-1] != scores[-1]:
            return "the mask is the same for all keys"
    return None


def type_problem(dtype: ir.DataType) -> str | None:
    """Why Attention cannot compute in a type, None where it can."""
    return None if dtype in _SHUT else f"onnxruntime has no Attention for {dtype.name}"


def value_problem(masks: Sequence[ir.Value]) -> str | None:
    """Why these masks cannot be given to Attention by their content, None where they can."""
    only = constant(masks[0]) if len(masks) == 1 else None
    if only is not None and 0 < only.size <= _LARGEST:
        array = only.numpy()
        if np.isnan(array).any() or np.isposinf(array).any():
            return "the mask holds NaN or infinity"
        if np.isneginf(array.max(axis=-1)).any():
            return "the mask shuts every key out from a query by -inf, which makes NaN"
        return None
    if any(bounds(mask) is None for mask in masks):
        return "the mask is not proven finite: a query that has only keys at -inf answers NaN, not 0"
    return None


def hand_over(op: Builder, masks: Sequence[ir.Value], scores: Sequence[Dim]) -> ir.Value | None:
    """Make the mask that Attention gets; `shape_problem` and `value_problem` have found none."""
    return joined(op, masks, scores, [_raised(op, mask) for mask in masks]) if masks else None


def joined(
    op: Builder, masks: Sequence[ir.Value], scores: Sequence[Dim], terms: Sequence[ir.Value | np.ndarray]
) -> ir.Value:
    """The sum of terms that are shaped as the masks, with a row for each query, beside an axis for heads."""
    if len(terms) > 1:
        total = op.Add(*terms)
    else:
        total = op.constant(terms[0]) if isinstance(terms[0], np.ndarray) else terms[0]
    ranks = [dims_of(mask) or () for mask in masks]
    rows = [dims[-2] if len(dims) > 1 else _ONE for dims in ranks]
    if scores[-2] not in rows or max(map(len, ranks)) < 2:
        total = op.Expand(total, _rows(op, masks[0], scores))
    if len(scores) == 3 and max(map(len, ranks)) == 3:
        total = op.Unsqueeze(total, np.array([1], np.int64))
    return total


def _rows(op: Builder, mask: ir.Value, scores: Sequence[Dim]) -> ir.Value | np.ndarray:
    """[queries, 1], the shape that a mask without a row for each query is expanded to."""
    if scores[-2].number is not None:
        return np.array([scores[-2].number, 1], np.int64)
    if scores[-2] != scores[-1]:
        raise op.decline("the mask has no row for each query, and their number is dynamic")
    rank = len(dims_of(mask) or ())
    size = op.Slice(op.Shape(mask), np.array([rank - 1], np.int64), np.array([rank], np.int64))
    return op.Concat(size, np.array([1], np.int64), axis=0)


def _raised(op: Builder, mask: ir.Value) -> ir.Value | np.ndarray:
    """The mask with nothing near the lowest number of its type."""
    assert mask.dtype is not None
    least = _SHUT[mask.dtype]
    tensor = constant(mask)
    if tensor is not None:
        array = tensor.numpy()
        low = array.max(axis=-1).min() < least or (np.isfinite(array) & (array < least)).any()
        return np.where(np.isneginf(array), array, np.maximum(array, array.dtype.type(least))) if low else mask
    limits = bounds(mask)
    if limits is None or limits[0] >= least:
        return mask
    node = mask.producer()
    if node is not None and node.op_type == "Where" and not node.domain:
        sides = [constant(value) for value in node.inputs[1:]]
        if all(side is not None for side in sides):
            return op.Where(node.inputs[0], *(_at_least(side.numpy(), least) for side in sides if side is not None))
    return op.Max(mask, np.array(least, mask.dtype.numpy()))


def _at_least(array: np.ndarray, least: float) -> np.ndarray:
    return np.maximum(array, array.dtype.type(least))
