"""Make one Transpose out of two in a row.

    x ─ Transpose(p) ─ Transpose(q) ─ y      becomes      x ─ Transpose(p∘q) ─ y      or x ─ y where p∘q is nothing

where (p∘q)[i] = p[q[i]]. The first may have other readers; it then stays for them. Fidelity: exact.
"""

from __future__ import annotations

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule


@rule("transpose-transpose", fidelity="exact")
def merge(p):
    return p.Transpose(p.Transpose(p.x, perm=p.attribute("first"), shared=True), perm=p.attribute("second"))


@merge.replace
def _(op, m):
    first, second = m.first, m.second
    rank = len(first or second or m.x.shape or ())
    if not rank:
        raise op.decline("the rank is not known")
    first, second = first or range(rank)[::-1], second or range(rank)[::-1]
    perm = [first[axis] for axis in second]
    return m.x if perm == list(range(rank)) else op.Transpose(m.x, perm=perm)


@merge.example
def _(g):
    shape = g.shape(least=1)
    one = g.Transpose(g.Neg(g.input(shape)), perm=g.permutation(len(shape)))
    if g.flag():
        g.output(g.Relu(one))
    g.output(g.Transpose(one, perm=g.permutation(len(shape))) if g.flag() else g.Transpose(one))


class MergeTransposes(RewritePass):
    """Make one Transpose out of two in a row, or none where they cancel."""

    name = "merge-transposes"
    rules = (merge,)
