"""Compute BitShift and BitCast by integer arithmetic, for backends that lack them.

    BitShift(x, s, LEFT)      becomes      x · 2ˢ, which wraps as the bits fall off
    BitShift(x, s, RIGHT)     becomes      x / 2ˢ, of a negative number -1 - (-1 - x) / 2ˢ
    BitCast(x)                becomes      Cast(x), between integers of one width and from bool to uint8

A shift by the width or more, or by a negative number, leaves what the extension of the sign makes: 0, or -1 for a
negative number to the right (ONNX, BitShift-28). A shift that is computed looks its power up. int8 and int16 are
left to the wider type. Fidelity: exact.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.decompose_integer_functions import SIGNED, UNSIGNED, WIDE
from graphopt_passes.scalars import number

_SINCE, _BIT_CAST_SINCE = 11, 26


def _powers(kind: np.dtype, most: int) -> np.ndarray:
    """2⁰ to 2ᵐᵒˢᵗ, the last possibly the sign bit."""
    unsigned = np.dtype(f"u{kind.itemsize}")
    return (np.ones(most + 1, unsigned) << np.arange(most + 1, dtype=unsigned)).view(kind)


@rule("multiply-by-power-of-two", fidelity="exact")
def left(p):
    return p.BitShift(p.x, p.by, direction="LEFT")


@left.replace
def _(op, m):
    kind = m.x.dtype.numpy()
    width = kind.itemsize * 8
    table = np.append(_powers(kind, width - 1), np.array(0, kind))
    tensor = constant(m.by)
    if tensor is not None:
        return op.Mul(m.x, table[_place(tensor.numpy(), width)])
    return op.Mul(m.x, op.Gather(table, _looked_up(op, m.by, width)))


@rule("divide-by-power-of-two", fidelity="exact")
def right(p):
    return p.BitShift(p.x, p.by, direction="RIGHT")


@right.replace
def _(op, m):
    kind = m.x.dtype.numpy()
    signed = kind.kind == "i"
    # The highest power that is positive; what lies beyond is all sign.
    most = kind.itemsize * 8 - 1 - signed
    table = np.append(_powers(kind, most), np.array(1, kind))
    tensor = constant(m.by)
    if tensor is not None:
        place = _place(tensor.numpy(), most + 1)
        beyond, power = place > most, table[place]
        if not beyond.any():
            return _divided(op, m.x, power, signed)
    else:
        place = _looked_up(op, m.by, most + 1)
        beyond, power = op.Greater(place, np.array(most, np.int32)), op.Gather(table, place)
    fill = op.Where(op.Less(m.x, number(m.x, 0)), number(m.x, -1), number(m.x, 0)) if signed else number(m.x, 0)
    return op.Where(beyond, fill, _divided(op, m.x, power, signed))


def _divided(op, x, power, signed: bool):
    if not signed:
        return op.Div(x, power)
    ones = number(x, -1)
    negative = op.Less(x, number(x, 0))
    rounded = op.Div(op.Where(negative, op.Sub(ones, x), x), power)
    return op.Where(negative, op.Sub(ones, rounded), rounded)


def _place(shifts: np.ndarray, end: int) -> np.ndarray:
    """Where a shift's power stands in a table, `end` for one that is negative or goes beyond."""
    wide = shifts.astype(np.float64)
    return np.where((wide < 0) | (wide >= end), end, wide).astype(np.int64)


def _looked_up(op, shifts, end: int):
    place = op.Cast(shifts, to=int(ir.DataType.INT32))
    last = np.array(end, np.int32)
    place = op.Where(op.Less(place, np.array(0, np.int32)), last, place)
    return op.Where(op.Less(place, last), place, last)


for one in (left, right):
    one.require("it is unsigned, int32 or int64")(lambda m: m.x.dtype in (*WIDE, *UNSIGNED))


@rule("same-bits", fidelity="exact")
def bit_cast(p):
    return p.BitCast(p.x, to=p.attribute("to"))


@bit_cast.require("it is between integers of one width: none of these runtimes computes with the bits of a float")
def _(m):
    wanted = ir.DataType(m.to)
    if m.x.dtype == ir.DataType.BOOL:
        return wanted == ir.DataType.UINT8
    integers = (*SIGNED, *UNSIGNED)
    return m.x.dtype in integers and wanted in integers and m.x.dtype.bitwidth == wanted.bitwidth


@bit_cast.replace
def _(op, m):
    return op.Cast(m.x, to=m.to)


def _shift(g, direction: str) -> None:
    g.since(_SINCE)
    x = g.input(g.shape(), 12)
    by = g.constant(np.array(g.integer(0, 31), np.uint32)) if g.flag() else g.Mod(
        g.input([1], 12), g.constant(np.array(32, np.uint32))
    )  # fmt: skip
    g.output(g.BitShift(x, by, direction=direction))


@left.example
def _(g):
    _shift(g, "LEFT")


@right.example
def _(g):
    _shift(g, "RIGHT")


@bit_cast.example
def _(g):
    g.since(_BIT_CAST_SINCE)
    small, other = g.pick([(3, 2), (2, 3), (6, 12), (12, 6)])
    g.output(g.BitCast(g.input(g.shape(), small), to=other))


class DecomposeBitShift(Substitution):
    """Compute BitShift and BitCast by integer arithmetic."""

    name = "decompose-bit-shift"
    rules = (left, right, bit_cast)
