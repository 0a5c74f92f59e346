"""Write DynamicQuantizeLinear out, for backends that lack it.

    x ─ DynamicQuantizeLinear ─ q, s, z      becomes      s = (max(x, 0) - min(x, 0)) / 255
                                                          z = Cast(Clip(Round(-min(x, 0) / s), 0, 255))
                                                          q = Cast(Clip(Round(x / s) + z, 0, 255))

(ONNX, DynamicQuantizeLinear-11.) Where all of x is 0, the scale is 1, as onnxruntime has it. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.axes import reduce

_UINT8 = int(ir.DataType.UINT8)
_LARGEST = np.array(255, np.float32)
_ZERO = np.array(0, np.float32)


@rule("write-out-dynamic-quantize", fidelity="rounding")
def dynamic(p):
    made = p.DynamicQuantizeLinear(p.x)
    return made[0], made[1], made[2]


@dynamic.replace
def _(op, m):
    least = op.Min(reduce(op, "ReduceMin", m.x, None, keepdims=False), _ZERO)
    most = op.Max(reduce(op, "ReduceMax", m.x, None, keepdims=False), _ZERO)
    width = op.Sub(most, least)
    scale = op.Where(op.Equal(width, _ZERO), np.array(1, np.float32), op.Div(width, _LARGEST))
    zero = op.Clip(op.Round(op.Div(op.Neg(least), scale)), _ZERO, _LARGEST)
    numbers = op.Clip(op.Add(op.Round(op.Div(m.x, scale)), zero), _ZERO, _LARGEST)
    return op.Cast(numbers, to=_UINT8), scale, op.Cast(zero, to=_UINT8)


@dynamic.example
def _(g):
    for one in g.DynamicQuantizeLinear(g.input(g.shape(least=1), finite=True), outputs=3):
        g.output(one)


class DecomposeDynamicQuantize(Substitution):
    """Write DynamicQuantizeLinear as reductions, divisions and Round."""

    name = "decompose-dynamic-quantize"
    rules = (dynamic,)
