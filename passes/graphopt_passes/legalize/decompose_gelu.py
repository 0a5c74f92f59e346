"""Write Gelu out, for backends that lack it.

    x ─ Gelu ─ y            becomes      y = (½·x) · (1 + erf(x / √2))
    x ─ Gelu(tanh) ─ y      becomes      y = (½·x) · (1 + tanh(√(2/π) · (x + 0.044715·x³)))

which is its definition in the ONNX standard. Fidelity: rounding.
"""

from __future__ import annotations

import math

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_SINCE = 20


@rule("write-out-gelu", fidelity="rounding")
def gelu(p):
    return p.Gelu(p.x, approximate=p.attribute("approximate"))


gelu.require("it is floating point")(lambda m: is_float(m.x))


@gelu.replace
def _(op, m):
    x = m.x
    if m.approximate == "tanh":
        cube = op.Mul(op.Mul(x, x), x)
        line = op.Add(x, op.Mul(cube, number(x, 0.044715)))
        curve = op.Tanh(op.Mul(line, number(x, math.sqrt(2 / math.pi))))
    else:
        curve = op.Erf(op.Mul(x, number(x, math.sqrt(0.5))))
    return op.Mul(op.Mul(x, number(x, 0.5)), op.Add(curve, number(x, 1)))


@gelu.example
def _(g):
    g.since(_SINCE)
    g.output(g.Gelu(g.input(g.shape()), approximate=g.pick(["none", "tanh"])))


class DecomposeGelu(Substitution):
    """Write Gelu out by Erf or Tanh."""

    name = "decompose-gelu"
    rules = (gelu,)
