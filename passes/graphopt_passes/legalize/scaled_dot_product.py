"""Attention written out in MatMul, Softmax and MatMul: what the decompositions of every kind of attention share.

    softmax(softcap(scale · q · kᵀ) + bias) · v          with q, k and v as [batch, heads, positions, width]

(Vaswani et al., arXiv:1706.03762, section 3.2.1.) A query whose keys are all shut out answers 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.rewrite.rule import Builder
from graphopt_passes.axes import reduce
from graphopt_passes.fuse.bounds import bounds

HEADS_LAST = [0, 2, 1, 3]
LEAST = {
    ir.DataType.FLOAT16: -6e4, ir.DataType.FLOAT: -1e30, ir.DataType.DOUBLE: -1e30, ir.DataType.BFLOAT16: -1e30,
}  # fmt: skip
"""A bias that shuts a key out and does not overflow when a score is added."""


@dataclass
class Mask:
    """Which keys a query sees: conditions that all must hold, and what is added to the scores.

    Attributes:
        allowed: arrays or boolean values that broadcast to [batch, heads, queries, keys].
        added: a value of the scores' type that broadcasts likewise.
        may_be_empty: whether a query may have no key by `allowed`.
        finite: whether `added` leaves every query a key, or NaN is wanted where it does not.
        infinite: whether a key is shut out by -inf rather than by a large number, which backends digest better.
    """

    allowed: list[ir.Value | np.ndarray] = field(default_factory=list)
    added: ir.Value | None = None
    may_be_empty: bool = False
    finite: bool = False
    infinite: bool = False


@dataclass(frozen=True)
class Steps:
    """What was computed: the answer and what stands before it."""

    scores: ir.Value
    capped: ir.Value
    biased: ir.Value
    weights: ir.Value
    answer: ir.Value


def attend(
    op: Builder,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    mask: Mask,
    *,
    dtype: ir.DataType,
    scale: float,
    heads: int,
    groups: int,
    softcap: float = 0.0,
    precision: ir.DataType | None = None,
) -> Steps:
    """Write out scaled dot-product attention.

    Args:
        op: makes the nodes.
        q: [batch, heads, queries, width].
        k: [batch, groups, keys, width].
        v: [batch, groups, keys, any width].
        mask: which keys count.
        dtype: of q, k and v.
        scale: of the products.
        heads: of the queries.
        groups: heads of keys and values; each serves heads // groups consecutive heads of the queries.
        softcap: bound c of c · tanh(scores / c), none where it is not positive.
        precision: type in which Softmax computes, `dtype` where None.
    """
    kind = dtype.numpy()
    scaled = op.Mul(q, np.array(scale, kind)) if scale != 1.0 else q
    keys = op.Transpose(k, perm=[0, 1, 3, 2])
    scores = _each_group(op, scaled, keys, heads, groups)
    capped = scores
    if softcap > 0:
        capped = op.Mul(op.Tanh(op.Div(scores, np.array(softcap, kind))), np.array(softcap, kind))
    biased, open_ = _bias(op, capped, mask, dtype)
    wide = precision if precision not in (None, dtype) else None
    weights = op.Softmax(op.Cast(biased, to=int(wide)) if wide else biased, axis=-1)
    weights = op.Cast(weights, to=int(dtype)) if wide else weights
    if open_ is not None:
        weights = op.Where(open_, weights, np.array(0, kind))
    return Steps(scores, capped, biased, weights, _each_group(op, weights, v, heads, groups))


def _each_group(op: Builder, a: ir.Value, b: ir.Value, heads: int, groups: int) -> ir.Value:
    """MatMul of [batch, heads, m, n] with [batch, groups, n, o]: the heads of a group are stacked to one matrix."""
    if heads == groups:
        return op.MatMul(a, b)
    stacked = op.Reshape(a, np.array([0, groups, -1, 0], np.int64))
    return op.Reshape(op.MatMul(stacked, b), np.array([0, heads, -1, 0], np.int64))


def _bias(op: Builder, scores: ir.Value, mask: Mask, dtype: ir.DataType) -> tuple[ir.Value, ir.Value | None]:
    """The scores with the mask added, and for each query whether it has a key (None where all have one)."""
    kind = dtype.numpy()
    allowed: ir.Value | np.ndarray | None = None
    for one in mask.allowed:
        if allowed is None:
            allowed = one
        elif isinstance(allowed, np.ndarray) and isinstance(one, np.ndarray):
            allowed = allowed & one
        else:
            allowed = op.And(allowed, one)
    added = mask.added
    doubtful = added is not None and not mask.finite and _may_shut_out(added)
    if allowed is None and added is None:
        return scores, None
    least = -np.inf if doubtful or mask.infinite else LEAST[dtype]
    total = added
    if allowed is not None:
        zero, low = np.array(0, kind), np.array(least, kind)
        closed = np.where(allowed, zero, low) if isinstance(allowed, np.ndarray) else op.Where(allowed, zero, low)
        total = closed if added is None else op.Add(added, closed)
    biased = op.Add(scores, total)
    if doubtful:
        most = reduce(op, "ReduceMax", total, [-1], keepdims=True)
        return biased, op.Greater(most, np.array(-np.inf, kind))
    if allowed is None or not mask.may_be_empty:
        return biased, None
    if isinstance(allowed, np.ndarray):
        return biased, op.constant(allowed)
    return biased, allowed


def _may_shut_out(added: ir.Value) -> bool:
    """Whether a bias may be -inf for all keys of a query."""
    tensor = constant(added)
    if tensor is None or tensor.size == 0:
        return bounds(added) is None
    return bool(np.isneginf(tensor.numpy().max(axis=-1)).any())


def split_heads(op: Builder, x: ir.Value, heads: int, width: int) -> ir.Value:
    """[batch, positions, heads·width] as [batch, heads, positions, width]."""
    return op.Transpose(op.Reshape(x, np.array([0, 0, heads, width], np.int64)), perm=HEADS_LAST)


def join_heads(op: Builder, x: ir.Value, hidden: int | None) -> ir.Value:
    """[batch, heads, positions, width] as [batch, positions, hidden]."""
    return op.Reshape(op.Transpose(x, perm=HEADS_LAST), np.array([0, 0, hidden or -1], np.int64))


def positions(op: Builder, value: ir.Value, axis: int, size: int | None) -> ir.Value | np.ndarray:
    """0, 1, … along an axis of a value: numbers where its size is known."""
    if size is not None:
        return np.arange(size, dtype=np.int64)
    return op.Range(np.array(0, np.int64), length(op, value, axis), np.array(1, np.int64))


def length(op: Builder, value: ir.Value, axis: int) -> ir.Value:
    """The size of an axis, as an int64 without dimensions."""
    return op.Gather(op.Shape(value), np.array(axis, np.int64), axis=0)
