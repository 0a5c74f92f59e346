"""Write Einsum out by MatMul, or by Mul where nothing is summed up, for backends that lack it.

    a, b ─ Einsum(bhid,bhjd->bhij) ─ y      becomes      a, b ─ Transpose(b) ─ MatMul ─ y

Each operand loses the labels that nobody else has by ReduceSum; then both get the axes (shared, own, summed) and
(shared, summed, other) by Transpose and Reshape, and the product the order of the result. More than two operands are
taken from the left, two at a time. Holds where no operand has a label twice, and at most one of the axes that are put
together is dynamic. Fidelity: rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.equation import equation_of


@rule("write-out-einsum", fidelity="rounding")
def einsum(p):
    return p.op("Einsum", p.rest("operands"), as_="einsum")


@dataclass
class _Term:
    value: ir.Value
    labels: str


@einsum.require("no operand has a label twice, and labels of one name are of one size")
def _(m):
    says = equation_of(m.einsum)
    return says is not None and says.plain and _sizes(m, says) is not None


def _sizes(m, says) -> dict[str, int | str] | None:
    """The size of each label; None where two differ, which would be broadcasting, or one has no name."""
    sizes: dict[str, int | str] = {}
    for labels, value in zip(says.operands, m.operands, strict=True):
        for label, dim in zip(labels, shape_of(value), strict=True):
            size = dim if isinstance(dim, int) else dim.value
            if size is None or sizes.setdefault(label, size) != size:
                return None
    return sizes


@einsum.replace
def _(op, m):
    says = equation_of(m.einsum)
    sizes = _sizes(m, says)
    first, *rest = (_Term(v, labels) for v, labels in zip(m.operands, says.operands, strict=True))
    for place, second in enumerate(rest):
        later = set(says.result).union(*(term.labels for term in rest[place + 1 :]))
        first = _joined(op, first, second, later, sizes)
    first = _summed(op, first, set(says.result))
    result = _ordered(op, first, says.result).value
    return op.Identity(result) if result in m.operands else result


def _summed(op, term: _Term, kept: set[str]) -> _Term:
    axes = [axis for axis, label in enumerate(term.labels) if label not in kept]
    if not axes:
        return term
    labels = "".join(label for label in term.labels if label in kept)
    return _Term(reduce(op, "ReduceSum", term.value, axes, keepdims=False), labels)


def _ordered(op, term: _Term, labels: str) -> _Term:
    if term.labels == labels:
        return term
    return _Term(op.Transpose(term.value, perm=[term.labels.index(label) for label in labels]), labels)


def _joined(op, a: _Term, b: _Term, later: set[str], sizes) -> _Term:
    """The product of two operands, with what neither the result nor a later operand needs summed up."""
    a, b = _summed(op, a, later | set(b.labels)), _summed(op, b, later | set(a.labels))
    shared = "".join(label for label in a.labels if label in b.labels and label in later)
    summed = "".join(label for label in a.labels if label in b.labels and label not in later)
    own = "".join(label for label in a.labels if label not in b.labels)
    other = "".join(label for label in b.labels if label not in a.labels)
    left = _grouped(op, _ordered(op, a, shared + own + summed), shared, own, summed, sizes)
    right = _grouped(op, _ordered(op, b, shared + summed + other), shared, summed, other, sizes)
    labels = shared + own + other
    product = op.MatMul(left, right) if summed else op.Mul(left, right)
    return _Term(_reshaped(op, product, [*shared, own, other], list(labels), sizes), labels)


def _grouped(op, term: _Term, shared: str, rows: str, columns: str, sizes) -> ir.Value:
    """The operand as matrices: shared axes, then all rows in one axis and all columns in another."""
    return _reshaped(op, term.value, list(term.labels), [*shared, rows, columns], sizes)


def _reshaped(op, value, before: list[str], after: list[str], sizes) -> ir.Value:
    if before == after and all(len(group) == 1 for group in after):
        return value
    entries = [_size(group, sizes) for group in after]
    if entries.count(None) > 1:
        raise op.decline("more than one axis of a matrix is dynamic")
    return op.Reshape(value, np.array([-1 if size is None else size for size in entries], np.int64))


def _size(group: str, sizes) -> int | None:
    found = [sizes[label] for label in group]
    return math.prod(found) if all(isinstance(size, int) for size in found) else None


@einsum.example
def _(g):
    sizes = {label: g.integer(1, 4) for label in "bhijdk"}
    equation = g.pick([
        "bhid,bhjd->bhij", "ij,jk->ik", "bij,bij->b", "i,j->ij", "bhid,d->bhi", "ij,ik->jk", "bid,hdk->bhik",
        "ij,jk,kd->id", "bij,k->bi", "i,i->", "ij->ji", "bij,bjk->kbi",
    ])  # fmt: skip
    operands = equation.split("->")[0].split(",")
    values = [g.input([sizes[label] for label in labels], static=True) for labels in operands]
    g.output(g.Einsum(*values, equation=equation))


class DecomposeEinsum(Substitution):
    """Write Einsum out by Transpose, Reshape, MatMul and ReduceSum."""

    name = "decompose-einsum"
    rules = (einsum,)
