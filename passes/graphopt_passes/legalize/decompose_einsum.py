"""Write Einsum out by MatMul, or by Mul where nothing is summed up, for backends that lack it.

    a, b ─ Einsum(bhid,bhjd->bhij) ─ y      becomes      a, b ─ Transpose(b) ─ MatMul ─ y

A label that an operand has twice leaves its diagonal, by Gather of every (n+1)th of n² elements; an axis of size 1 that
is larger elsewhere goes. Each operand loses the labels that nobody else has by ReduceSum; then both get the axes
(shared, own, summed) and (shared, summed, other) by Transpose and Reshape, and the product the order of the result. Of
more than two operands those two are taken first whose product costs least. Holds where sizes of one label are equal or
1, and at most one of the axes that are put together is dynamic. Fidelity: rounding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce
from graphopt_passes.equation import equation_of

_GUESS = 64
"""What a dynamic axis counts when orders are compared."""
_MOST_BATCH_AXES = 2
"""Shared axes that stay apart: with more, matrices have more axes than backends take."""


@rule("write-out-einsum", fidelity="rounding")
def einsum(p):
    return p.op("Einsum", p.rest("operands"), as_="einsum")


@dataclass(frozen=True)
class _Term:
    value: ir.Value
    labels: str


@einsum.require("its equation fits the operands, and sizes of one label are equal or 1")
def _(m):
    says = equation_of(m.einsum)
    if says is None or len(set(says.result)) < len(says.result) or not set(says.result) <= set("".join(says.operands)):
        return False
    return _sizes(m, says) is not None


def _sizes(m, says) -> dict[str, int | str] | None:
    """The size of each label, 1 only where it is 1 everywhere; None where two differ or one has no name."""
    sizes: dict[str, int | str] = {}
    for labels, value in zip(says.operands, m.operands, strict=True):
        for label, dim in zip(labels, shape_of(value), strict=True):
            size = dim if isinstance(dim, int) else dim.value
            known = sizes.setdefault(label, size) if size is not None else None
            if known == 1:
                sizes[label] = size
            elif size is None or size not in (1, known):
                return None
    return sizes


@einsum.replace
def _(op, m):
    says = equation_of(m.einsum)
    sizes = _sizes(m, says)
    terms = [_plain(op, _Term(v, labels), sizes) for v, labels in zip(m.operands, says.operands, strict=True)]
    while len(terms) > 1:
        first, second = min(itertools.combinations(terms, 2), key=lambda pair: _work(*pair, sizes))
        terms = [term for term in terms if term is not first and term is not second]
        later = set(says.result).union(*(term.labels for term in terms))
        terms.append(_joined(op, first, second, later, sizes))
    result = _ordered(op, _summed(op, terms[0], set(says.result)), says.result).value
    return op.Identity(result) if result in m.operands else result


def _work(a: _Term, b: _Term, sizes) -> int:
    """Multiplications of a product."""
    found = [sizes[label] for label in {*a.labels, *b.labels}]
    return math.prod(size if isinstance(size, int) else _GUESS for size in found)


def _plain(op, term: _Term, sizes) -> _Term:
    """An operand with each label once, and without axes of size 1 that are larger elsewhere."""
    labels, shape = term.labels, shape_of(term.value)
    kept = [axis for axis, label in enumerate(labels) if shape[axis] != 1 or sizes[label] == 1]
    value = term.value
    if len(kept) < len(labels):
        labels = "".join(labels[axis] for axis in kept)
        value = _reshaped(op, value, None, list(labels), sizes)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            value, labels = _diagonal(op, value, labels, label, sizes)
    return _Term(value, labels)


def _diagonal(op, value, labels: str, label: str, sizes) -> tuple[ir.Value, str]:
    """An operand with a label once less: elements whose two indices are the same, along the last axis."""
    if not isinstance(sizes[label], int):
        raise op.decline("a label that an operand has twice is of dynamic size")
    first, second = [axis for axis, one in enumerate(labels) if one == label][:2]
    others = [axis for axis in range(len(labels)) if axis not in (first, second)]
    rest = [labels[axis] for axis in others]
    turned = value if [*others, first, second] == list(range(len(labels))) else op.Transpose(
        value, perm=[*others, first, second]
    )  # fmt: skip
    flat = _reshaped(op, turned, None, [*rest, label + label], sizes)
    every = np.arange(sizes[label], dtype=np.int64) * (sizes[label] + 1)
    return op.Gather(flat, every, axis=len(rest)), "".join(rest) + label


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
    batch = [*shared] if len(shared) <= _MOST_BATCH_AXES else [shared]
    a, b = _ordered(op, a, shared + own + summed), _ordered(op, b, shared + summed + other)
    left = _reshaped(op, a.value, list(a.labels), [*batch, own, summed], sizes)
    right = _reshaped(op, b.value, list(b.labels), [*batch, summed, other], sizes)
    labels = shared + own + other
    product = op.MatMul(left, right) if summed else op.Mul(left, right)
    return _Term(_reshaped(op, product, [*batch, own, other], list(labels), sizes), labels)


def _reshaped(op, value, before: list[str] | None, after: list[str], sizes) -> ir.Value:
    """A value whose axes are groups of labels, each as one axis of another grouping; None forces the Reshape."""
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
        "ij,jk,kd->id", "bij,k->bi", "i,i->", "ij->ji", "bij,bjk->kbi", "bii->b", "iijj->ji", "bii,ik->bk",
        "bhijd,bhijk->bhkd", "ij,jk,kd,dh->ih",
    ])  # fmt: skip
    operands = equation.split("->")[0].split(",")
    # an axis of size 1 stands for any other, where a label is shared
    small = {label for label in equation if equation.split("->")[0].count(label) > 1 and g.integer(0, 3) == 0}
    values = [
        g.input([1 if place and label in small else sizes[label] for label in labels], static=True, finite=True)
        for place, labels in enumerate(operands)
    ]
    g.output(g.Einsum(*values, equation=equation))


@einsum.example
def _(g):
    batch = g.shape(1, 3)
    a, b = [*batch, 2, 3], [*(1 if g.flag() else size for size in batch), 3, 4]
    values = (g.input(shape, static=True, finite=True) for shape in (a, b))
    g.output(g.Einsum(*values, equation="...ij,...jk->...ik"))


class DecomposeEinsum(Substitution):
    """Write Einsum out by Transpose, Reshape, MatMul and ReduceSum."""

    name = "decompose-einsum"
    rules = (einsum,)
