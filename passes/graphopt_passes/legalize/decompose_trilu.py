"""Write Trilu out with a constant mask, for backends that lack it.

    x ─ Trilu(k) ─ y              becomes      y = Where(mask, x, 0)
    x[bool] ─ Trilu(k) ─ y        becomes      y = And(mask, x)

where mask[i, j] is j - i ≥ k for the upper triangle, j - i ≤ k for the lower (ONNX, Trilu): a constant unless k is
computed. The last two sizes must be known; com.microsoft's operator is the same. Fidelity: rounding, since
onnxruntime's Where turns -0 into 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute, has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.merge_slices import size_of
from graphopt_passes.scalars import number, rank_of

DOMAIN = "com.microsoft"


def _rule(name, domain):
    one = rule(name, fidelity="rounding")(lambda p: p.Trilu(p.x, p.rest("diagonal"), domain=domain))

    @one.require("its last two sizes are known")
    def _(m):
        return _sizes(m) is not None

    @one.replace
    def _(op, m):
        if 0 in _sizes(m):
            return op.Identity(m.x)
        rows, columns = _sizes(m)
        offsets = np.arange(columns)[None, :] - np.arange(rows)[:, None]
        upper = attribute(m.root, "upper")
        kept = np.greater_equal if upper is None or upper else np.less_equal
        if has_input(m.root, 1) and constant(m.root.inputs[1]) is None:
            beyond = op.op("Less" if kept is np.greater_equal else "Greater", offsets, m.root.inputs[1])
            mask = op.Not(beyond)
        else:
            mask = kept(offsets, _diagonal(m))
        return op.And(m.x, mask) if m.x.dtype == ir.DataType.BOOL else op.Where(mask, m.x, number(m.x, 0))

    @one.example
    def _(g):
        g.since(14)
        shape = g.shape(least=2)
        dtype = g.pick([g.FLOAT, g.INT64, g.BOOL]) if not domain else g.FLOAT
        given = [g.constant(np.array(g.integer(-3, 3), np.int64))] if g.flag() else []
        if g.flag():
            given = [g.input([], g.INT64)]
        options = {"domain": domain} if domain else {}
        made = g.Trilu(g.input(shape, dtype, static=True), *given, upper=g.integer(0, 1), **options)
        g.output(made, len(shape))

    return one


def _sizes(m) -> tuple[int, int] | None:
    rank = rank_of(m.x) or 0
    if rank < 2 or m.x.dtype is None:
        return None
    rows, columns = (size_of(m.x, rank - axis) for axis in (2, 1))
    return None if rows is None or columns is None else (rows, columns)


def _diagonal(m) -> int:
    return int(constant(m.root.inputs[1]).numpy().reshape(-1)[0]) if has_input(m.root, 1) else 0


class DecomposeTrilu(Substitution):
    """Write Trilu out with a constant mask."""

    name = "decompose-trilu"
    rules = (_rule("write-out-trilu", ""), _rule("write-out-trilu-microsoft", DOMAIN))
