"""Compute an operator in float whose operands are quantized in a way that a backend does not compute.

    q ─ DequantizeLinear ─ Conv(DequantizeLinear(w)) ─ QuantizeLinear ─ y
    becomes      q ─ Cast ─ Sub(z) ─ Mul(s) ─ Conv((w - z)·s) ─ QuantizeLinear ─ y

A backend may take the conversions and the operator, and yet not the operator between conversions: an asymmetric one on
TensorRT, any on a runtime of floats. The numbers stay those of the quantized model. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.compute_in_wider_type import FLOAT_OPERATORS
from graphopt_passes.legalize.decompose_quantize import scaled
from graphopt_passes.legalize.quantized import RANGES
from graphopt_passes.scalars import is_float

_MOVES = (
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape", "Slice",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip


@rule("dequantize-operands", fidelity="rounding")
def operands(p):
    # two operators deep, so that the planner's copy of a node has the conversions in front of it
    first = p.either(p.DequantizeLinear(p.rest("read"), shared=True), p.value())
    return p.op((*FLOAT_OPERATORS, *_MOVES), first, p.rest("others"), as_="layer")


@operands.require("it has one output, and an operand that is dequantized just before")
def _(m):
    return len(m.layer.outputs) == 1 and any(_dequantizes(value) for value in m.layer.inputs)


def _dequantizes(value):
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain:
        return False
    return node.inputs[0].dtype in (*RANGES, ir.DataType.INT32) and is_float(node.inputs[1])


@operands.replace
def _(op, m):
    inputs = [
        scaled(op, value.producer(), *[value.producer().inputs[0]] * 2) if _dequantizes(value) else value
        for value in m.layer.inputs
    ]
    return op.op(m.layer.op_type, *inputs, like=m.layer)


@operands.example
def _(g):
    def real(value, *shape):
        return g.DequantizeLinear(value, g.constant(g.positive(*shape)), g.constant(np.full(shape, 3, np.int8)), axis=0)

    inputs, outputs = g.integer(1, 3), g.integer(1, 3)
    w = g.constant(np.array(g.normal(outputs, inputs, 3, 3) * 40, np.int8))
    wide = [outputs] if g.flag() else []
    x = real(g.input([1, inputs, 5, 5], g.INT8))
    g.output(g.Conv(x, real(w, *wide)) if g.flag() else g.Add(x, real(g.input([1, inputs, 5, 5], g.INT8))))


class DequantizeOperands(Substitution):
    """Multiply quantized operands out where an operator does not take them."""

    name = "dequantize-operands"
    rules = (operands,)
