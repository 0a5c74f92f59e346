"""Multiply by one number where a product of matrices has several: the scale of attention that PyTorch splits in two.

    a ─ Mul(s) ─ MatMul ─ y                    a ─ MatMul ─ Mul(s·t) ─ y
    b ─ Mul(t) ───┘              becomes       b ────┘

The number goes behind the product, where onnxruntime takes it into its own FusedMatMul; before it, the number may move
on through Reshapes, out of the runtime's sight. Holds in float32 and double: in float16 the two halves may be there to
keep the product from overflowing. Fidelity: rounding.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule
from graphopt_passes.scalars import keeps_rank, single

_LARGEST = {ir.DataType.FLOAT: 1e30, ir.DataType.DOUBLE: 1e300}


def _scaled(p, x, name):
    return p.Mul(x, p.constant(name, where=single))


@rule("matmul-scale", fidelity="rounding")
def once(p):
    return p.MatMul(_scaled(p, p.a, "s"), _scaled(p, p.b, "t"))


@once.require("both are numbers of a type with room, which do not add axes")
def _(m):
    numbers = [abs(float(number.reshape(()))) for number in (m.s, m.t)]
    largest = _LARGEST.get(m.a.dtype, 0.0)
    fits = all(1 / largest < number < largest for number in (*numbers, math.prod(numbers))) if largest else False
    return fits and keeps_rank(m, m.a) and keeps_rank(m, m.b)


@once.replace
def _(op, m):
    kind = m.a.dtype.numpy()
    total = np.array(float(m.s.reshape(())) * float(m.t.reshape(())), kind)
    return op.Mul(op.MatMul(m.a, m.b), total)


@once.example
def _(g):
    lead = g.shape(most=2)
    m, k, n = (g.integer(1, 3) for _ in range(3))
    a, b = g.input([*lead, m, k], static=True), g.input([*lead, k, n], static=True)
    g.output(g.MatMul(g.Mul(a, g.constant(0.5)), g.Mul(g.constant([0.3]), b)))


class FuseMatMulScale(RewritePass):
    """Multiply by one number where both inputs of a MatMul are multiplied."""

    name = "fuse-matmul-scale"
    rules = (once,)
