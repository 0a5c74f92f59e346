"""Write HardSwish out, for backends that lack it.

    x ─ HardSwish ─ y      becomes      x ─┬─ HardSigmoid(1/6, 1/2) ─ Mul ─ y
                                           └────────────────────────┘

which is its definition in the ONNX standard. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.legalize import Substitution
from graphopt.rewrite import rule

HARD_SWISH_SINCE = 14


@rule("write-out-hard-swish", fidelity="rounding")
def hard_swish(p):
    return p.HardSwish(p.x)


@hard_swish.replace
def _(op, m):
    return op.Mul(op.HardSigmoid(m.x, alpha=1 / 6, beta=0.5), m.x)


@hard_swish.example
def _(g):
    g.since(HARD_SWISH_SINCE)
    g.output(g.HardSwish(g.input(g.shape())))


class DecomposeHardSwish(Substitution):
    """Write HardSwish out as x times HardSigmoid(x)."""

    name = "decompose-hard-swish"
    rules = (hard_swish,)
