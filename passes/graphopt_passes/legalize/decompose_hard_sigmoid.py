"""Write HardSigmoid out, for backends that lack it.

    x ─ HardSigmoid(α, β) ─ y      becomes      x ─ Mul(α) ─ Add(β) ─ Clip(0, 1) ─ y

which is its definition in the ONNX standard. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.canonicalize.clip_to_relu6 import INPUT_BOUNDS


@rule("write-out-hard-sigmoid", fidelity="rounding")
def hard_sigmoid(p):
    return p.HardSigmoid(p.x, alpha=p.attribute("alpha"), beta=p.attribute("beta"))


@hard_sigmoid.require("the type of the input is known")
def _(m):
    return m.x.dtype is not None


@hard_sigmoid.replace
def _(op, m):
    dtype = m.x.dtype.numpy()
    line = op.Add(op.Mul(m.x, np.array(m.alpha, dtype)), np.array(m.beta, dtype))
    if op.opset >= INPUT_BOUNDS:
        return op.Clip(line, np.array(0, dtype), np.array(1, dtype))
    return op.Clip(line, min=0.0, max=1.0)


@hard_sigmoid.example
def _(g):
    g.output(g.HardSigmoid(g.input(g.shape()), alpha=g.pick([0.2, 1 / 6]), beta=0.5))


class DecomposeHardSigmoid(Substitution):
    """Write HardSigmoid out as Mul, Add and Clip."""

    name = "decompose-hard-sigmoid"
    rules = (hard_sigmoid,)
