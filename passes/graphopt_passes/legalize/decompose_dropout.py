"""Let Dropout with a mask through at inference, for backends that lack it.

    x ─ Dropout ─ y, mask      becomes      y = x, mask = (x < 0) or not (x < 0)

At inference nothing is dropped (ONNX, Dropout), so every element of the mask is true. It is computed, since a constant
output is what vendors refuse. Fidelity: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import has_input
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.scalars import is_float, number

_TRAINING_SINCE = 12


@rule("keep-all", fidelity="exact")
def dropout(p):
    node = p.Dropout(p.x, p.rest("options"))
    return node[0], node[1]


@dropout.require("it is not training")
def _(m):
    if not has_input(m.root, 2):
        return is_float(m.x)
    training = constant(m.root.inputs[2])
    return is_float(m.x) and training is not None and not training.numpy().any()


@dropout.replace
def _(op, m):
    if op.opset < _TRAINING_SINCE:
        raise op.decline("the mask of this opset means nothing at inference")
    if m.x.dtype == ir.DataType.BFLOAT16:
        raise op.decline("Less takes no bfloat16 at every opset")
    below = op.Less(m.x, number(m.x, 0))
    return op.Identity(m.x), op.Or(below, op.Not(below))


@dropout.example
def _(g):
    for one in g.Dropout(g.input(g.shape()), outputs=2):
        g.output(one)


class DecomposeDropout(Substitution):
    """Let Dropout with a mask through at inference."""

    name = "decompose-dropout"
    rules = (dropout,)
