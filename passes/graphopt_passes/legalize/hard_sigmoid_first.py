"""Put the HardSigmoid first in the product that makes a HardSwish, for SNPE.

    x ─┬──────────────── Mul ─ y                x ─┬─ HardSigmoid ─ Mul ─ y
       └─ HardSigmoid ────┘         becomes        └─────────────────┘

onnxruntime-qnn 2.7.0 makes one QNN operator of the two. With x as the first factor that operator computes something
else: -15 dB SQNR in HTP emulation on normal inputs, against 73 dB in the other order. Fidelity: exact.
"""

from __future__ import annotations

from graphopt.pipeline import RewritePass
from graphopt.rewrite import rule


@rule("hard-sigmoid-first", fidelity="exact")
def swap(p):
    return p.Mul(p.x, p.op("HardSigmoid", p.x, as_="ramp"))


@swap.require("the HardSigmoid is the second factor")
def _(m):
    return m.root.inputs[1] is m.ramp.outputs[0]


@swap.replace
def _(op, m):
    return op.Mul(m.ramp.outputs[0], m.x)


@swap.example
def _(g):
    x = g.input(g.shape())
    g.output(g.Mul(x, g.HardSigmoid(x, alpha=g.pick([0.2, 1 / 6]), beta=0.5)))


class HardSigmoidFirst(RewritePass):
    """Put the HardSigmoid first in a product with its own input, the order that SNPE computes rightly."""

    name = "hard-sigmoid-first"
    rules = (swap,)
