"""Write Pow out, or compute it in one floating-point type, for backends that lack the mixture of types.

    Pow(x, n)                   becomes      x · x · …, by repeated squaring, for one whole constant n from 1 to 64
    Pow(x[float], y[int])       becomes      Pow(x, Cast(y))
    Pow(x[int], y[int])         becomes      Cast(Round(Pow(Cast(x), Cast(y))))
    Pow(x[int], y[float])       becomes      Cast(Pow(Cast(x), y))

The last two hold for results up to 2²⁴, which float tells apart. Fidelity: exact for integers to a constant power,
rounding for the others.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.recast import cast
from graphopt_passes.scalars import FLOATS, is_float, rank_of

_LARGEST = 64


def _whole(array: np.ndarray) -> bool:
    if array.size != 1:
        return False
    exponent = float(array.reshape(()))
    return exponent == int(exponent) and 1 <= exponent <= _LARGEST if np.isfinite(exponent) else False


@rule("repeated-product", fidelity="rounding")
def product(p):
    return p.Pow(p.x, p.constant("n", where=_whole))


@product.require("the exponent has no more axes than the base")
def _(m):
    rank = rank_of(m.x)
    return m.n.ndim == 0 or (rank is not None and m.n.ndim <= rank)


@product.replace
def _(op, m):
    left, square, found = int(m.n.reshape(())), m.x, None
    while left:
        if left & 1:
            found = square if found is None else op.Mul(found, square)
        left >>= 1
        square = op.Mul(square, square) if left else square
    return op.Identity(found) if found is m.x else found


@rule("exponent-of-the-same-type", fidelity="rounding")
def same(p):
    return p.Pow(p.x, p.y)


@same.require("the types differ and the base is floating point")
def _(m):
    return is_float(m.x) and m.y.dtype is not None and m.x.dtype != m.y.dtype


@same.replace
def _(op, m):
    return op.Pow(m.x, cast(op, m.y, m.x.dtype))


@rule("power-in-float", fidelity="rounding")
def integers(p):
    return p.Pow(p.x, p.y)


@integers.require("the base is an integer")
def _(m):
    return m.x.dtype is not None and m.y.dtype is not None and m.x.dtype not in FLOATS


@integers.replace
def _(op, m):
    power = op.Pow(cast(op, m.x, ir.DataType.FLOAT), cast(op, m.y, ir.DataType.FLOAT))
    return op.Cast(power if m.y.dtype in FLOATS else op.Round(power), to=int(m.x.dtype))


@product.example
def _(g):
    dtype, kind = g.pick([(g.FLOAT, np.float32), (g.INT32, np.int32), (g.FLOAT, np.int64)])
    x = g.input(g.shape(), dtype)
    x = g.Tanh(x) if dtype == g.FLOAT else x
    g.output(g.Pow(x, g.constant(np.array(g.integer(1, 9 if dtype == g.FLOAT else 3), kind))))


@same.example
def _(g):
    x = g.Exp(g.Tanh(g.input(g.shape())))
    g.output(g.Pow(x, g.constant(np.array(g.integer(-3, 3), np.int64))))


@integers.example
def _(g):
    x = g.Clip(g.input(g.shape(), g.INT32), g.constant(np.array(1, np.int32)), g.constant(np.array(20, np.int32)))
    g.output(g.Pow(x, g.constant(g.pick([np.array(2, np.int64), np.array(0.5, np.float32)]))))


class DecomposePow(Substitution):
    """Write Pow out as products, or compute it in one type."""

    name = "decompose-pow"
    rules = (product, same, integers)
