"""Activations that LiteRT computes inside of the operator before them."""

from __future__ import annotations

import onnx_ir as ir
from ai_edge_litert.schema_py_generated import ActivationFunctionType

from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import bound
from graphopt_backends.tflite.registry import Decline

NONE: int = ActivationFunctionType.NONE
_INFINITE = 3.4028234e38  # exporters write "no bound" as the largest float32
_BY_BOUNDS = {
    (0.0, None): ActivationFunctionType.RELU,
    (0.0, 6.0): ActivationFunctionType.RELU6,
    (-1.0, 1.0): ActivationFunctionType.RELU_N1_TO_1,
}


def bounds(node: ir.Node, e: Emitter) -> tuple[float | None, float | None]:
    """The bounds of a Clip of any opset, None where it has none.

    Raises:
        Decline: a bound is computed at run time.
    """
    low, high = bound(node, e, "min", 1), bound(node, e, "max", 2)
    return None if low is None or low <= -_INFINITE else low, None if high is None or high >= _INFINITE else high


def sole_user(value: ir.Value) -> ir.Node | None:
    """The one node that uses `value`, None where others use it too or it is an output of the model."""
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None


def take_activation(output: ir.Value, e: Emitter) -> tuple[int, ir.Value]:
    """Take over the activation after `output` where LiteRT's fused activations hold it.

    Returns:
        The code for `fusedActivationFunction`, and the value that the fused operator makes.
    """
    user = sole_user(output)
    if user is None or user.domain or output.dtype != ir.DataType.FLOAT:
        return NONE, output
    code = _code(user, e)
    if code is None:
        return NONE, output
    e.taken.append(user)
    return code, user.outputs[0]


def _code(node: ir.Node, e: Emitter) -> int | None:
    if node.op_type == "Relu":
        return int(ActivationFunctionType.RELU)
    if node.op_type != "Clip":
        return None
    try:
        return _BY_BOUNDS.get(bounds(node, e))  # type: ignore[arg-type]
    except Decline:  # bounds at run time: the Clip's own lowering takes it
        return None
