"""Write com.microsoft's QAttention as its Attention of numbers that are dequantized before.

    x, w ─ QAttention(sx, sw, zx, zw) ─ y      becomes      x, w ─ DequantizeLinear each ─ Attention ─ y

What Attention computes in is then its own affair, or that of what it is written out as. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir.infer import dims_of
from graphopt.legalize import Substitution
from graphopt.rewrite import Rule
from graphopt_passes.legalize.quantized import real

_CONTRIB = "com.microsoft"


def _replace(op, m):
    axis = len(dims_of(m.w) or (0, 0)) - 1
    more = [m.mask, m.past] if m.past is not None else [m.mask]
    made = op.Attention(
        real(op, m.x, m.sx, m.zx), real(op, m.w, m.sw, m.zw, axis), m.bias, *more,
        domain=_CONTRIB, outputs=len(m.packed.outputs), like=m.packed,
    )  # fmt: skip
    return made if len(m.packed.outputs) > 1 else (made,)


def _rule(outputs):
    def pattern(p):
        rest = (p.optional(p.mask), p.optional(p.zx), p.optional(p.zw), p.optional(p.past))
        made = p.QAttention(
            p.x, p.w, p.bias, p.sx, p.sw, *rest, as_="packed", domain=_CONTRIB,
            where=lambda node: len(node.outputs) == outputs,
        )  # fmt: skip
        return tuple(made[index] for index in range(outputs))

    one = Rule(f"dequantize-attention-{outputs}", "rounding", pattern)
    one.replace(_replace)
    one.example(lambda g: _example(g, outputs))
    return one


def _example(g, outputs):
    batch, count, length, width = (g.integer(1, 3) for _ in range(4))
    hidden, inner = count * width, g.integer(1, 4)
    x = g.input([batch, length, inner], 2, static=True)
    weights = g.constant(np.array(g.normal(inner, 3 * hidden) * 40, np.int8))
    scales = [g.constant(g.positive() * np.float32(0.01)) for _ in range(2)]
    zeros = [g.constant(np.array(g.integer(0, 200), np.uint8)), g.constant(np.array(0, np.int8))]
    past = [g.input([2, batch, count, 2, width], static=True, finite=True)] if outputs > 1 else []
    options = {"num_heads": count, "unidirectional": int(g.flag())}
    bias = g.constant(g.normal(3 * hidden))
    made = g.QAttention(
        x, weights, bias, *scales, None, *zeros, *past, outputs=outputs, domain=_CONTRIB, **options
    )  # fmt: skip
    for one, rank in zip([made] if outputs == 1 else made, (3, 5), strict=False):
        g.output(one, rank)


class DecomposeQuantizedAttention(Substitution):
    """Write QAttention as Attention of dequantized numbers."""

    name = "decompose-quantized-attention"
    rules = (_rule(1), _rule(2))
