"""Make one Gemm of a product of matrices and what is added to it, multiplied with it or transposed before it.

    a, b ─ MatMul ─ Add(c) ─ y                 becomes      a, b, c ─ Gemm ─ y
    a, b ─ Gemm ─ Add(c) ─ y                   becomes      a, b, c ─ Gemm ─ y
    a ─ Transpose ─ Gemm(b) ─ y                becomes      a, b ─ Gemm(transA) ─ y,  and b with transB
    a, b ─ Gemm ─ Mul(2) ─ y                   becomes      a, b ─ Gemm(alpha·2) ─ y

for two matrices (rank 2). The summand must not make the product larger. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset_of, shape_of
from graphopt.ir.schema import attribute
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import same_size
from graphopt_passes.scalars import FLOATS, fits_attribute, rank_of

_SINCE = 7
"""Opset from which the summand of a Gemm broadcasts as everywhere else."""
_HALF_SINCE = {ir.DataType.BFLOAT16: 13}


def takes_type(m, a: ir.Value) -> bool:
    """Whether Gemm, at the opset of a match, takes matrices of the type of `a`."""
    return a.dtype in FLOATS and opset_of(m.root.graph) >= _HALF_SINCE.get(a.dtype, _SINCE)


def _takes(m, a: ir.Value, b: ir.Value) -> bool:
    return takes_type(m, a) and rank_of(a) == 2 and rank_of(b) == 2


def _fits(summand: ir.Value, product: ir.Value) -> bool:
    """Whether a summand broadcasts to the shape of a product, whatever its dynamic dimensions turn out to be."""
    small, large = shape_of(summand), shape_of(product)
    if small is None or large is None or len(small) > len(large):
        return False
    return all(a == 1 or same_size(a, b) for a, b in zip(small, list(large)[len(large) - len(small) :], strict=True))


@rule("matmul-add", fidelity="rounding")
def matmul_add(p):
    return p.Add(p.op("MatMul", p.a, p.b, as_="product"), p.c)


@matmul_add.require("the factors are matrices, and the summand does not make their product larger")
def _(m):
    return _takes(m, m.a, m.b) and _fits(m.c, m.product.outputs[0])


@matmul_add.replace
def _(op, m):
    return op.Gemm(m.a, m.b, m.c)


@rule("gemm-add", fidelity="rounding")
def gemm_add(p):
    return p.Add(p.op("Gemm", p.a, p.b, as_="product"), p.c)


@gemm_add.require("the summand does not make the product larger")
def _(m):
    return _takes(m, m.a, m.b) and _fits(m.c, m.product.outputs[0])


@gemm_add.replace
def _(op, m):
    return op.Gemm(m.a, m.b, m.c, like=m.product, beta=None)


def _flipped(p, x):
    return p.Transpose(x, perm=p.attribute(where=lambda perm: perm is None or list(perm) == [1, 0]))


@rule("transpose-gemm-a", fidelity="rounding")
def transpose_a(p):
    return p.op(("Gemm", "MatMul"), _flipped(p, p.a), p.b, p.rest("c"), as_="product")


@rule("transpose-gemm-b", fidelity="rounding")
def transpose_b(p):
    return p.op(("Gemm", "MatMul"), p.a, _flipped(p, p.b), p.rest("c"), as_="product")


@transpose_a.require("the factors are matrices")
@transpose_b.require("the factors are matrices")
def _(m):
    return _takes(m, m.a, m.b)


@transpose_a.replace
def _(op, m):
    like = m.product if m.product.op_type == "Gemm" else None
    return op.op("Gemm", m.a, m.b, *m.c, like=like, transA=int(not (like and attribute(like, "transA"))))


@transpose_b.replace
def _(op, m):
    like = m.product if m.product.op_type == "Gemm" else None
    return op.op("Gemm", m.a, m.b, *m.c, like=like, transB=int(not (like and attribute(like, "transB"))))


@rule("gemm-mul", fidelity="rounding")
def gemm_mul(p):
    return p.Mul(p.op(("Gemm", "MatMul"), p.a, p.b, as_="product"), p.constant("factor", where=fits_attribute))


@gemm_mul.require("the factors are matrices, none constant: its content would take the factor")
def _(m):
    computed = constant(m.a) is None and constant(m.b) is None
    return computed and _takes(m, m.a, m.b) and m.factor.ndim <= 2


@gemm_mul.replace
def _(op, m):
    like = m.product if m.product.op_type == "Gemm" else None
    alpha = float(attribute(like, "alpha")) if like is not None else 1.0
    return op.op("Gemm", m.a, m.b, like=like, alpha=alpha * float(np.asarray(m.factor).reshape(())))


def _factors(g):
    rows, inner, columns = (g.integer(1, 4) for _ in range(3))
    return [rows, inner], [inner, columns], columns


@matmul_add.example
def _(g):
    a, b, columns = _factors(g)
    product = g.MatMul(g.input(a), g.constant(g.normal(*b)))
    g.output(g.Add(product, g.constant(g.normal(*g.pick([(), (1,), (columns,), (1, columns)])))))


@gemm_add.example
def _(g):
    a, b, columns = _factors(g)
    product = g.Gemm(g.input(a, static=True), g.input(b, static=True), alpha=g.pick([1.0, 0.5]))
    g.output(g.Add(product, g.input(g.pick([[columns], [1, columns], [a[0], 1]]), static=True)))


def _transposed(g, which):
    a, b, columns = _factors(g)
    kind, flips = g.pick(["Gemm", "MatMul"]), [g.flag(), g.flag()]
    flips = flips if kind == "Gemm" else [False, False]
    shapes = [s if flip == (at == which) else s[::-1] for at, (s, flip) in enumerate(zip((a, b), flips, strict=True))]
    values = [g.input(s) for s in shapes]
    values[which] = g.Transpose(values[which], perm=[1, 0])
    options = {} if kind == "MatMul" else {"transA": int(flips[0]), "transB": int(flips[1])}
    more = [g.constant(g.normal(columns))] if kind == "Gemm" and g.flag() else []
    g.output(g.op(kind, *values, *more, **options))


@transpose_a.example
def _(g):
    _transposed(g, 0)


@transpose_b.example
def _(g):
    _transposed(g, 1)


@gemm_mul.example
def _(g):
    a, b, _ = _factors(g)
    product = g.op(g.pick(["Gemm", "MatMul"]), g.input(a), g.input(b))
    g.output(g.Mul(product, g.constant(g.pick([0.125, 2.0]))))


class FuseGemm(RewritePass):
    """Make one Gemm of MatMul, Add, Transpose and Mul around matrices."""

    name = "fuse-gemm"
    rules = (matmul_add, gemm_add, transpose_a, transpose_b, gemm_mul)
