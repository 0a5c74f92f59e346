"""Write activations so that Qualcomm's HTP, which computes in fp16, keeps their precision.

    x ─ Conv ─ Tanh ─ y          becomes      x ─ Conv ─ Max(-60000) ─ Tanh ─ y       (Sigmoid and Gelu likewise)

    x ─ Softplus ─ y             becomes      what `decompose-swish` writes for it, and for Mish

onnxruntime-qnn 2.7.0 makes one operator of a layer and its activation, and that one takes the activation from a coarse
table. Measured in HTP emulation, layer and activation together: Tanh 43 dB, Sigmoid 48, x · σ(x) 49, Gelu 51; kept
apart by a bound that changes nothing, 68, 67, 64 and 64. Softplus and Mish are coarse by themselves: 41 and 42 dB, and
69 and 66 written out. A product of 64 rows and more is not joined with what follows. Fidelity: rounding.
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from graphopt.ir.edit import shape_of
from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, PassResult, RewritePass
from graphopt.rewrite import Rule, rule
from graphopt_passes.legalize.decompose_swish import mish, softplus
from graphopt_passes.scalars import is_float, number

_BOUND = -60000.0
"""Next to the least number of fp16. Each of these functions is constant below it: Gelu is 0 at -∞, and not NaN."""
_THROUGH = frozenset({"Add", "Flatten", "Mul", "Reshape", "Squeeze", "Sub", "Transpose", "Unsqueeze"})
"""What may stand between a layer and its activation without keeping them apart."""
_STEPS = 4
_ROWS = 64


def _apart(operator: str, since: int = 1) -> Rule:
    @rule(f"{operator.lower()}-apart", fidelity="rounding")
    def apart(p):
        return p.op(operator, p.x)

    @apart.require("it is floating point, and a layer's result")
    def _(m):
        return is_float(m.x) and _of_layer(m.x, _STEPS)

    @apart.replace
    def _(op, m):
        return op.op(operator, op.Max(m.x, number(m.x, _BOUND)), like=m.root)

    @apart.example
    def _(g):
        g.since(since)
        rows, columns = g.integer(1, 4), g.integer(1, 4)
        x = g.MatMul(g.input([rows, 3], static=True, finite=True), g.constant([[0.5] * columns] * 3))
        if g.flag():
            x = g.Add(x, g.constant([0.25] * columns))
        g.output(g.op(operator, x))

    return apart


def _of_layer(value, steps: int) -> bool:
    """Whether a value comes from a layer that the HTP joins with what follows."""
    node = value.producer() if value is not None else None
    if node is None or node.domain or not steps:
        return False
    if node.op_type == "Conv":
        return True
    if node.op_type in ("Gemm", "MatMul"):
        shape = shape_of(node.outputs[0])
        return shape is None or not all(isinstance(n, int) for n in shape) or prod(shape[:-1]) < _ROWS
    return node.op_type in _THROUGH and any(_of_layer(one, steps - 1) for one in node.inputs)


class ActivationsForHalf(RewritePass):
    """Write activations in a form for fp16."""

    name = "activations-for-half"
    rules = (_apart("Tanh"), _apart("Sigmoid"), _apart("Gelu", since=20), softplus, mish)

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """See `RewritePass.run`; shapes are proven first, for the rows of products."""
        infer_shapes(model)
        return super().run(model, context)
