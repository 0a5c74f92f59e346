"""Write determinants and inverses of small matrices out.

    x[…, n, n] ─ Det ─ y          becomes      y = Σ ± x₀ⱼ · det(x without row 0 and column j)
    x[…, n, n] ─ Inverse ─ y      becomes      y = adj(x) / det(x), which ± minors, transposed, make up

(Laplace's expansion and Cramer's rule: Strang, Introduction to Linear Algebra, chapter 5.) For n up to 4 and 3, which
are what networks turn coordinates by; a minor is computed once. Inverse is com.microsoft's. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import size_of, slice_by
from graphopt_passes.canonicalize.merge_squeezes import squeeze
from graphopt_passes.scalars import is_float, rank_of

DOMAIN = "com.microsoft"
_LARGEST = {"Det": 4, "Inverse": 3}


class _Minors:
    """Determinants of parts of a matrix, each […, 1, 1] and made once."""

    def __init__(self, op, x: ir.Value, rank: int) -> None:
        self._op, self._x, self._rank = op, x, rank
        self._made: dict[tuple[tuple[int, ...], tuple[int, ...]], ir.Value] = {}

    def of(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> ir.Value:
        """The determinant of the elements in these rows and columns."""
        key = (rows, columns)
        if key not in self._made:
            self._made[key] = self._entry(*rows, *columns) if len(rows) == 1 else self._expanded(rows, columns)
        return self._made[key]

    def _entry(self, row: int, column: int) -> ir.Value:
        cuts = {self._rank - 2: (row, row + 1, 1), self._rank - 1: (column, column + 1, 1)}
        found: ir.Value = slice_by(self._op, self._x, cuts)
        return found

    def _expanded(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> ir.Value:
        total = None
        for place, column in enumerate(columns):
            rest = tuple(one for one in columns if one != column)
            term = self._op.Mul(self.of(rows[:1], (column,)), self.of(rows[1:], rest))
            total = term if total is None else self._op.op("Sub" if place % 2 else "Add", total, term)
        return total


def _size(m) -> int | None:
    rank = rank_of(m.x) or 0
    return size_of(m.x, rank - 1) if rank > 1 else None


@rule("laplace-expansion", fidelity="rounding")
def determinant(p):
    return p.Det(p.x)


@rule("cramers-rule", fidelity="rounding")
def inverse(p):
    return p.Inverse(p.x, domain=DOMAIN)


for one in (determinant, inverse):

    @one.require("it is floating point and of few rows, whose number is known")
    def _(m):
        return is_float(m.x) and 0 < (_size(m) or 0) <= _LARGEST[m.root.op_type]


@determinant.replace
def _(op, m):
    rank, every = rank_of(m.x), tuple(range(_size(m)))
    return squeeze(op, _Minors(op, m.x, rank).of(every, every), [rank - 2, rank - 1])


@inverse.replace
def _(op, m):
    rank, every = rank_of(m.x), tuple(range(_size(m)))
    if len(every) == 1:
        return op.Reciprocal(m.x)
    minors = _Minors(op, m.x, rank)
    whole = minors.of(every, every)
    # the minor without row i and column j stands in row j and column i
    lines = [
        op.Concat(*(minors.of(_without(every, i), _without(every, j)) for i in every), axis=rank - 1) for j in every
    ]
    signs = np.array([[(-1.0) ** (i + j) for i in every] for j in every], m.x.dtype.numpy())
    return op.Div(op.Mul(op.Concat(*lines, axis=rank - 2), signs), whole)


def _without(every: tuple[int, ...], one: int) -> tuple[int, ...]:
    return tuple(other for other in every if other != one)


def _matrices(g, most, lead):
    """Matrices with a strong diagonal, so that what is divided by is not next to zero."""
    size = g.integer(1, most)
    shape = [*g.shape(least=lead, most=2), size, size]
    strong = np.broadcast_to(8 * np.eye(size, dtype=np.float32), shape)
    return g.Add(g.Tanh(g.input(shape, static=True, finite=True)), g.constant(strong)), len(shape)


@determinant.example
def _(g):
    x, rank = _matrices(g, 4, 0)
    g.output(g.Det(x), rank - 2)


@inverse.example
def _(g):
    x, rank = _matrices(g, 3, 0)
    g.output(g.Inverse(x, domain=DOMAIN), rank)


class DecomposeMatrices(Substitution):
    """Write determinants and inverses of small matrices out."""

    name = "decompose-matrices"
    rules = (determinant, inverse)
