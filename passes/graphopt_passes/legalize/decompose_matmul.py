"""Take MatMul to fewer axes, or write it out for integers, for backends that lack some of its ranks and types.

    vectors     a[k], b[…, k, n]         become      Squeeze(MatMul(Unsqueeze(a), b)), and b[k] likewise
    rows        a[…, m, k], b[k, n]      become      Reshape(MatMul(Reshape(a, [-1, k]), b), […, m, n])
    batches     a[i, j, …, m, k], b      become      both with one batch axis, expanded to each other, and back
    integers    a, b                     become      ReduceSum(Mul(a[…, m, k, 1], b[…, 1, k, n]), axis -2)

The last has all products at once, of 2²² elements at most. Fidelity: rounding; exact for integers.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of, static_shape
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.parts import unsqueeze
from graphopt_passes.scalars import rank_of

_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT32, ir.DataType.UINT64)
_MOST_PRODUCTS = 1 << 22


@rule("matmul-of-vectors", fidelity="rounding")
def vectors(p):
    return p.MatMul(p.a, p.b)


@vectors.require("a side is a vector, and the rank of the result is known")
def _(m):
    return 1 in (rank_of(m.a), rank_of(m.b)) and None not in (rank_of(m.a), rank_of(m.b))


@vectors.replace
def _(op, m):
    row, column = rank_of(m.a) == 1, rank_of(m.b) == 1
    product = op.MatMul(unsqueeze(op, m.a, [0]) if row else m.a, unsqueeze(op, m.b, [1]) if column else m.b)
    gone = [*([-2] if row else []), *([-1] if column else [])]
    return squeeze(op, product, [max(rank_of(m.a) + row, rank_of(m.b) + column) + axis for axis in gone])


@rule("matmul-of-rows", fidelity="rounding")
def rows(p):
    return p.MatMul(p.a, p.b)


@rows.require("the left side has more than two axes, of which one may be dynamic, and the right side two")
def _(m):
    shape = shape_of(m.a)
    if shape is None or len(shape) < 3 or rank_of(m.b) != 2 or not isinstance(shape_of(m.b)[1], int):
        return False
    return sum(not isinstance(dim, int) for dim in shape[:-1]) <= 1 and isinstance(shape[-1], int)


@rows.replace
def _(op, m):
    *lead, inner = shape_of(m.a)
    product = op.MatMul(op.Reshape(m.a, np.array([-1, inner], np.int64)), m.b)
    shape = [*(dim if isinstance(dim, int) else -1 for dim in lead), shape_of(m.b)[1]]
    return op.Reshape(product, np.array(shape, np.int64))


@rule("matmul-of-one-batch", fidelity="rounding")
def batches(p):
    return p.MatMul(p.a, p.b)


@batches.require("its shapes are static, and it has several batch axes")
def _(m):
    shapes = [static_shape(value) for value in (m.a, m.b)]
    return None not in shapes and min(map(len, shapes)) > 1 and max(map(len, shapes)) > 3


@batches.replace
def _(op, m):
    shapes = [static_shape(value) for value in (m.a, m.b)]
    batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    sides = []
    for value, shape in zip((m.a, m.b), shapes, strict=True):
        whole = math.prod(shape[:-2]) in (1, math.prod(batch))
        same = value if whole else op.Expand(value, np.array([*batch, *shape[-2:]], np.int64))
        sides.append(op.Reshape(same, np.array([math.prod(shape[:-2]) if whole else -1, *shape[-2:]], np.int64)))
    return op.Reshape(op.MatMul(*sides), np.array([*batch, shapes[0][-2], shapes[1][-1]], np.int64))


@rule("matmul-of-integers", fidelity="exact")
def integers(p):
    return p.MatMul(p.a, p.b)


@integers.require("it has integers in static shapes")
def _(m):
    shapes = [static_shape(value) for value in (m.a, m.b)]
    return m.a.dtype in _INTEGERS and None not in shapes and min(map(len, shapes)) > 1


@integers.replace
def _(op, m):
    shapes = [static_shape(value) for value in (m.a, m.b)]
    batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    if math.prod(batch) * math.prod(shapes[0][-2:]) * shapes[1][-1] > _MOST_PRODUCTS:
        raise op.decline(f"it has more than {_MOST_PRODUCTS} products")
    left = unsqueeze(op, m.a, [len(shapes[0])])
    right = unsqueeze(op, m.b, [len(shapes[1]) - 2])
    return reduce(op, "ReduceSum", op.Mul(left, right), [len(batch) + 1], keepdims=False)


@vectors.example
def _(g):
    inner, lead = g.integer(1, 4), g.shape(most=2)
    a = [inner] if (row := g.flag()) else [*lead, g.integer(1, 3), inner]
    b = [inner] if not row or g.flag() else [*lead, inner, g.integer(1, 3)]
    g.output(g.MatMul(g.input(a, static=True), g.input(b, static=True)))


@rows.example
def _(g):
    inner, columns = g.integer(1, 4), g.integer(1, 4)
    second = g.constant(g.normal(inner, columns)) if g.flag() else g.input([inner, columns], static=True)
    g.output(g.MatMul(g.input([*g.shape(1, 3), g.integer(1, 3), inner], static=True), second))


def _two(g, dtype=1):
    batch, inner = g.shape(2, 3), g.integer(1, 4)
    other = [1 if g.flag() else size for size in batch]
    shapes = [*batch, g.integer(1, 3), inner], [*other[g.integer(0, 1) :], inner, g.integer(1, 3)]
    return (g.input(shape, dtype, static=True, finite=True) for shape in shapes)


@batches.example
def _(g):
    g.output(g.MatMul(*_two(g)))


@integers.example
def _(g):
    g.output(g.MatMul(*_two(g, g.pick([g.INT32, g.INT64]))))


class DecomposeMatmul(Substitution):
    """Write MatMul with fewer axes, and of integers as a sum of products."""

    name = "decompose-matmul"
    rules = (vectors, rows, batches, integers)
