"""Write Gemm out, for backends that lack it.

    a, b, c ─ Gemm(transA, alpha, beta) ─ y      becomes      y = MatMul(aᵀ, b)·alpha + c·beta

A constant is transposed and scaled at once; integers have no factors but 1. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.edit import constant, opset_of
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_SMALL = 1 << 20
"""Bytes of a constant that may be there twice, before and after."""


@rule("write-out-gemm", fidelity="rounding")
def gemm(p):
    return p.Gemm(p.a, p.b, p.optional(p.c))


@gemm.require("its numbers may be multiplied by its factors, and its summand broadcasts as everywhere else")
def _(m):
    plain = attribute(m.root, "alpha") == attribute(m.root, "beta") == 1.0
    return (is_float(m.a) or plain) and opset_of(m.root.graph) >= 7


def _turned(op, value, flip):
    tensor = constant(value)
    if not flip:
        return value
    if tensor is not None and tensor.nbytes <= _SMALL:
        return np.ascontiguousarray(tensor.numpy().T)
    return op.Transpose(value, perm=[1, 0])


def _scaled(op, value, factor):
    tensor = constant(value)
    if factor == 1.0:
        return value
    if tensor is not None and tensor.nbytes <= _SMALL:
        return (tensor.numpy().astype(np.float64) * factor).astype(tensor.dtype.numpy())
    return op.Mul(value, number(value, factor))


@gemm.replace
def _(op, m):
    product = op.MatMul(_turned(op, m.a, attribute(m.root, "transA")), _turned(op, m.b, attribute(m.root, "transB")))
    product = product if (alpha := float(attribute(m.root, "alpha"))) == 1.0 else op.Mul(product, number(m.a, alpha))
    return product if m.c is None else op.Add(product, _scaled(op, m.c, float(attribute(m.root, "beta"))))


@gemm.example
def _(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    flips = [int(g.flag()), int(g.flag())]
    a, b = ([rows, inner], [inner, columns])
    a, b = a[::-1] if flips[0] else a, b[::-1] if flips[1] else b
    second = g.constant(g.normal(*b)) if g.flag() else g.input(b)
    more = [g.constant(g.normal(columns))] if g.flag() else []
    options = {"alpha": g.pick([1.0, 0.5]), "beta": g.pick([1.0, 2.0])}
    g.output(g.Gemm(g.input(a), second, *more, transA=flips[0], transB=flips[1], **options))


@gemm.example
def _(g):
    a, b = (g.input(shape, g.INT32) for shape in ([3, 2], [2, 4]))
    c = [g.input([4], g.INT32)] if g.flag() else []
    g.output(g.Gemm(a, b, *c))


class DecomposeGemm(Substitution):
    """Write Gemm out as MatMul and Add."""

    name = "decompose-gemm"
    rules = (gemm,)
