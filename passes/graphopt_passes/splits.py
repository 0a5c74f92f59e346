"""Split and Concat in the form of an opset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphopt.rewrite.rule import Builder

_SIZES_AS_INPUT, _COUNT_SINCE = 13, 18


def split(op: Builder, x: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
    """Parts of a value, of these sizes along an axis; the value itself where there is one."""
    if len(sizes) == 1:
        return [x]
    if op.opset >= _SIZES_AS_INPUT:
        return list(op.op("Split", x, np.array(sizes, np.int64), axis=axis, outputs=len(sizes)))
    return list(op.op("Split", x, split=list(sizes), axis=axis, outputs=len(sizes)))


def split_evenly(op: Builder, x: ir.Value, count: int, axis: int) -> list[ir.Value]:
    """Parts of a value, of one size along an axis that may be unknown."""
    if count == 1:
        return [x]
    options = {"num_outputs": count} if op.opset >= _COUNT_SINCE else {}
    return list(op.op("Split", x, axis=axis, outputs=count, **options))


def joined(op: Builder, parts: Sequence[ir.Value], axis: int) -> ir.Value:
    """Parts along an axis as one value; the part itself where there is one."""
    found: ir.Value = parts[0] if len(parts) == 1 else op.Concat(*parts, axis=axis)
    return found
