"""Compute bitwise operators by integer arithmetic, for backends that lack them.

    BitwiseNot(a)       becomes      -1 - a, of unsigned integers 2ʷ - 1 - a
    BitwiseOr(a, b)     becomes      a + (b - (a & b))
    BitwiseXor(a, b)    becomes      (a - (a & b)) + (b - (a & b))
    BitwiseAnd(a, m)    becomes      Mod(a, m + 1), where the constant m is 2ᵏ - 1
    BitwiseAnd(a, b)    becomes      ⌊a/2⌋ + ⌊b/2⌋ - (⌊a/2⌋ ^ ⌊b/2⌋) + Mod(a, 2)·Mod(b, 2)
    BitwiseAnd(a, b)    becomes      Σₖ 2ᵏ · bitₖ(a) · bitₖ(b), one plane for each bit

The one by exclusive or holds since x + y = (x ^ y) + 2·(x & y). No intermediate result leaves the type, so that it
does not matter whether a runtime wraps around or saturates (HTP does), and no division of a negative number has a
rest. The bits of a negative number are those of -1 - a, turned over (two's complement). The planes are of int32 and
int64 and need static shapes; smaller integers are left to the wider type. Fidelity: exact.
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir.edit import static_shape
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.legalize.decompose_integer_functions import UNSIGNED, WIDE
from graphopt_passes.scalars import number

_SINCE = 18
_SUMMED = 16
"""Bits that are summed at once: HTP sums integers in float, which is exact below 2²⁴."""


@rule("complement", fidelity="exact")
def complement(p):
    return p.BitwiseNot(p.a)


@complement.require("it is unsigned, int32 or int64")
def _(m):
    return m.a.dtype in (*WIDE, *UNSIGNED)


@complement.replace
def _(op, m):
    ones = -1 if m.a.dtype in WIDE else np.iinfo(m.a.dtype.numpy()).max
    return op.Sub(np.array(ones, m.a.dtype.numpy()), m.a)


@rule("union-by-intersection", fidelity="exact")
def union(p):
    return p.BitwiseOr(p.a, p.b)


@union.require("it is int32, int64, uint32 or uint64")
def _(m):
    return m.a.dtype in (*WIDE, *UNSIGNED[2:])


@union.replace
def _(op, m):
    return op.Add(m.a, op.Sub(m.b, op.BitwiseAnd(m.a, m.b)))


@rule("difference-by-intersection", fidelity="exact")
def difference(p):
    return p.BitwiseXor(p.a, p.b)


@difference.require("it is int32, int64, uint32 or uint64")
def _(m):
    return m.a.dtype in (*WIDE, *UNSIGNED[2:])


@difference.replace
def _(op, m):
    common = op.BitwiseAnd(m.a, m.b)
    return op.Add(op.Sub(m.a, common), op.Sub(m.b, common))


def _low_bits(mask: np.ndarray) -> bool:
    if not mask.size or (mask < 0).any() or (mask == np.iinfo(mask.dtype).max).any():
        return False
    return not (mask & (mask + 1)).any()


@rule("low-bits-by-modulo", fidelity="exact")
def low_bits(p):
    return p.BitwiseAnd(p.a, p.constant("mask", where=_low_bits))


@low_bits.replace
def _(op, m):
    return op.Mod(m.a, m.mask + np.array(1, m.mask.dtype))


@rule("intersection-by-difference", fidelity="exact")
def intersection(p):
    return p.BitwiseAnd(p.a, p.b)


@intersection.require("it is int32 or int64, and the shapes are equal and static")
def _(m):
    return m.a.dtype in WIDE and static_shape(m.a) is not None and static_shape(m.a) == static_shape(m.b)


@intersection.replace
def _(op, m):
    two = number(m.a, 2)
    low_a, low_b = op.Mod(m.a, two), op.Mod(m.b, two)
    high_a, high_b = op.Div(op.Sub(m.a, low_a), two), op.Div(op.Sub(m.b, low_b), two)
    doubled = op.Sub(op.Add(high_a, high_b), op.BitwiseXor(high_a, high_b))
    return op.Add(doubled, op.Mul(low_a, low_b))


@rule("intersection-by-planes", fidelity="exact")
def planes(p):
    return p.BitwiseAnd(p.a, p.b)


@planes.require("it is int32 or int64 of a static shape")
def _(m):
    return m.a.dtype in WIDE and static_shape(m.a) is not None and static_shape(m.b) is not None


@planes.replace
def _(op, m):
    kind = m.a.dtype.numpy()
    shape = np.broadcast_shapes(static_shape(m.a), static_shape(m.b))
    zero = np.array(0, kind)
    flat = [_column(op, value, static_shape(value), shape) for value in (m.a, m.b)]
    negative = [op.Less(value, zero) for value in flat]
    width = np.iinfo(kind).bits
    total = op.Where(op.And(*negative), np.array(np.iinfo(kind).min, kind), zero)
    for start in range(0, width - 1, _SUMMED):
        count = min(_SUMMED, width - 1 - start)
        places = np.array([1 << place for place in range(start, start + count)], kind)
        bits = op.Mul(*(_bits(op, *pair, places) for pair in zip(flat, negative, strict=True)))
        part = reduce(op, "ReduceSum", op.Mul(bits, places >> start), [1])
        total = op.Add(total, op.Mul(part, np.array(1 << start, kind)) if start else part)
    return op.Reshape(total, np.array(shape, np.int64))


def _column(op, value, own: tuple[int, ...], shape: tuple[int, ...]):
    if own != shape:
        value = op.Expand(value, np.array(shape, np.int64))
    return op.Reshape(value, np.array([math.prod(shape), 1], np.int64))


def _bits(op, column, negative, powers: np.ndarray):
    """The bits of each number but the sign in a row of its own: [n, 1] to [n, len(powers)]."""
    one, two = np.array(1, powers.dtype), np.array(2, powers.dtype)
    positive = op.Where(negative, op.Sub(-one, column), column)
    shifted = op.Div(positive, powers)
    bits = op.Sub(shifted, op.Mul(op.Div(shifted, two), two))
    return op.Where(negative, op.Sub(one, bits), bits)


def _pair(g, types):
    g.since(_SINCE)
    shape = g.shape(least=1)
    dtype = g.pick(types)
    return g.input(shape, dtype, static=True), g.input(shape, dtype, static=True)


@complement.example
def _(g):
    g.since(_SINCE)
    g.output(g.BitwiseNot(g.input(g.shape(), g.pick([g.INT32, g.INT64, 2, 12]))))


@union.example
def _(g):
    g.output(g.BitwiseOr(*_pair(g, [g.INT32, g.INT64])))


@difference.example
def _(g):
    g.output(g.BitwiseXor(*_pair(g, [g.INT32, g.INT64])))


@low_bits.example
def _(g):
    g.since(_SINCE)
    mask = g.constant(np.array(g.pick([0, 1, 7, 255]), np.int32))
    g.output(g.BitwiseAnd(g.input(g.shape(), g.INT32), mask))


@intersection.example
def _(g):
    g.output(g.BitwiseAnd(*_pair(g, [g.INT32, g.INT64])))


@planes.example
def _(g):
    a, b = _pair(g, [g.INT32])
    one = g.input([1], g.INT32, static=True)
    g.output(g.BitwiseAnd(a, g.pick([b, one])))


class DecomposeBitwise(Substitution):
    """Compute bitwise operators by integer arithmetic."""

    name = "decompose-bitwise"
    rules = (complement, union, difference, low_bits, intersection, planes)
