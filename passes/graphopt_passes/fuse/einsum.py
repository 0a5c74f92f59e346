"""Write an Einsum as the one operator that computes the same.

    Einsum(bij,bjk->bik)      becomes      MatMul              Einsum(ij->ji)          becomes      Transpose
    Einsum(ik,jk->ij)         becomes      Gemm(transB)        Einsum(bij->bj)         becomes      ReduceSum
    Einsum(bij,j->bij)        becomes      Mul

Constant operands are transposed at once. What takes several operators stays, see `decompose-einsum`.
Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of
from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce, same_size
from graphopt_passes.equation import equation_of
from graphopt_passes.scalars import FLOATS


@rule("einsum-one", fidelity="rounding")
def of_one(p):
    return p.op("Einsum", p.x, as_="einsum")


@of_one.require("it only transposes, or only sums up")
def _(m):
    says = equation_of(m.einsum)
    if says is None or not says.plain:
        return False
    (operand,) = says.operands
    kept = "".join(label for label in operand if label in says.result)
    return len(operand) == len(says.result) or kept == says.result


@of_one.replace
def _(op, m):
    says = equation_of(m.einsum)
    (operand,) = says.operands
    if operand == says.result:
        return op.Identity(m.x)
    if len(operand) == len(says.result):
        return op.Transpose(m.x, perm=[operand.index(label) for label in says.result])
    return reduce(op, "ReduceSum", m.x, [i for i, c in enumerate(operand) if c not in says.result], keepdims=False)


@rule("einsum-two", fidelity="rounding")
def of_two(p):
    return p.op("Einsum", p.a, p.b, as_="einsum")


@of_two.require("labels of one name are of one size")
def _(m):
    says = equation_of(m.einsum)
    return says is not None and says.plain and _agree(m, says)


def _agree(m, says) -> bool:
    """Whether every label of both operands has the same proven size in both: MatMul and Mul would stretch a 1."""
    sizes: dict[str, int | ir.SymbolicDim] = {}
    for term, value in zip(says.operands, (m.a, m.b), strict=True):
        shape = shape_of(value)
        if shape is None:
            return False
        for label, size in zip(term, shape, strict=True):
            if label in sizes and not same_size(sizes[label], size):
                return False
            sizes[label] = size
    return True


@of_two.replace
def _(op, m):
    says = equation_of(m.einsum)
    a, b = says.operands
    found = _as_product(op, m.a, a, m.b, b, says.result)
    if found is None:
        found = _as_product(op, m.b, b, m.a, a, says.result)
    return found if found is not None else _as_mul(op, m, says)


def _as_product(op, x, left, y, right, result):
    """MatMul or Gemm where the labels are where it wants them, None otherwise."""
    summed = [label for label in left if label in right and label not in result]
    mine = [label for label in left if label not in right]
    yours = [label for label in right if label not in left]
    if len(summed) != 1 or len(yours) != 1 or any(label not in result for label in mine + yours):
        return None
    (k,), (n,) = summed, yours
    batch = "".join(label for label in right if label not in (k, n))
    if left[-1:] == k and result == left[:-1] + n and left.startswith(batch) and (not batch or len(left) == len(right)):
        tensor = constant(y)
        if right == batch + k + n:
            return op.MatMul(x, y)
        if tensor is not None:
            return op.MatMul(x, tensor.numpy().transpose([right.index(label) for label in batch + k + n]))
    if not batch and len(left) == 2 and len(right) == 2 and x.dtype in FLOATS and result == mine[0] + n:
        return op.Gemm(x, y, transA=int(left[0] == k), transB=int(right[1] == k))
    return None


def _as_mul(op, m, says):
    a, b = says.operands
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    if longer == says.result and longer.endswith(shorter):
        return op.Mul(m.a, m.b)
    raise op.decline("it takes more than one operator")


@of_one.example
def _(g):
    x = g.input([2, 3, 4])
    g.output(g.Einsum(x, equation=g.pick(["abc->cab", "abc->ac", "a...->...a", "abc -> ", "...->..."])))


@of_two.example
def _(g):
    b, i, j, k = 2, 3, 4, 5
    equation, first, second = g.pick([
        ("bij,bjk->bik", [b, i, j], [b, j, k]), ("ij,jk", [i, j], [j, k]), ("...j,jk->...k", [b, i, j], [j, k]),
        ("ik,jk->ij", [i, k], [j, k]), ("ki,kj->ij", [k, i], [k, j]), ("jk,bij->bik", [j, k], [b, i, j]),
        ("bij,j->bij", [b, i, j], [j]), ("bij,bij->bij", [b, i, j], [b, i, j]),
    ])  # fmt: skip
    g.output(g.Einsum(g.input(first, static=True), g.input(second, static=True), equation=equation))


@of_two.example
def _(g):
    weight = g.constant(np.asarray(g.normal(5, 4)))
    g.output(g.Einsum(g.input([2, 3, 4], static=True), weight, equation="bij,kj->bik"))


class FuseEinsum(RewritePass):
    """Write an Einsum as MatMul, Gemm, Mul, Transpose or ReduceSum, where one of these is enough."""

    name = "fuse-einsum"
    rules = (of_one, of_two)
