"""Write BatchNormalization out, for backends that lack it where no layer takes it in.

    x ─ BatchNormalization(s, t, μ, σ²) ─ y      becomes      x ─ Mul(k) ─ Add(t - μ·k) ─ y      k = s / √(σ² + ε)

Holds for constant statistics and where it does not train. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, rank_of


@rule("write-out-batch-norm", fidelity="rounding")
def batch_norm(p):
    return p.BatchNormalization(
        p.x, p.constant("scale"), p.constant("shift"), p.constant("mean"), p.constant("var"),
        epsilon=p.attribute("epsilon"),
    )  # fmt: skip


@batch_norm.require("it does not train, and its rank is known")
def _(m):
    trains = attribute(m.root, "training_mode") or attribute(m.root, "is_test") == 0
    unread = not any(v.name for v in m.root.outputs[1:])
    return is_float(m.x) and (rank_of(m.x) or 0) > 1 and not trains and unread


@batch_norm.replace
def _(op, m):
    dtype, spread = m.x.dtype.numpy(), (-1, *[1] * (rank_of(m.x) - 2))
    k = m.scale.astype(np.float64) / np.sqrt(m.var.astype(np.float64) + m.epsilon)
    shift = m.shift - m.mean * k
    return op.Add(op.Mul(m.x, k.reshape(spread).astype(dtype)), shift.reshape(spread).astype(dtype))


@batch_norm.example
def _(g):
    x = g.input([g.integer(1, 3), 4, *g.shape(most=2)])
    stats = [g.constant(g.normal(4)) for _ in range(3)]
    g.output(g.BatchNormalization(x, *stats, g.constant(g.positive(4)), epsilon=g.pick([1e-5, 1e-3])))


class DecomposeBatchNorm(Substitution):
    """Write BatchNormalization out as Mul and Add."""

    name = "decompose-batch-norm"
    rules = (batch_norm,)
