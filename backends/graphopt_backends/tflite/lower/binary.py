"""Functions of several tensors under broadcasting: arithmetic, comparisons, logic, selection, sloped activations."""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.activation import take_activation
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import integer, required
from graphopt_backends.tflite.registry import Decline, lowering

_ARITHMETIC = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}
_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "And": "LOGICAL_AND",
    "Or": "LOGICAL_OR",
    "Xor": "NOT_EQUAL",
}
_MANY = {"Max": "MAXIMUM", "Min": "MINIMUM", "Sum": "ADD", "Mean": "ADD"}


def _values(node: ir.Node, e: Emitter) -> list[ir.Value]:
    # Before opset 7, operand B was aligned by an attribute and not by NumPy's rule.
    if integer(node, "broadcast", 0):
        raise Decline("broadcasting of opsets before 7; convert the model to opset 7 or later")
    return [required(node, index) for index in range(len(node.inputs))]


@lowering(*_ARITHMETIC)
def arithmetic(node: ir.Node, e: Emitter) -> None:
    """ADD, SUB, MUL and DIV with the activation that follows."""
    (a, b), where = e.operands(_values(node, e))
    activation, output = take_activation(node.outputs[0], e)
    e.write(output, e.binary(_ARITHMETIC[node.op_type], a, b, activation=activation), where)


@lowering(*_COMPARISONS)
def comparison(node: ir.Node, e: Emitter) -> None:
    """Comparisons and logic; exclusive or is inequality of booleans."""
    (a, b), where = e.operands(_values(node, e))
    e.write(node.outputs[0], e.binary(_COMPARISONS[node.op_type], a, b, dtype="bool"), where)


@lowering(*_MANY)
def many(node: ir.Node, e: Emitter) -> None:
    """Operators of any number of operands, two at a time."""
    tensors, where = e.operands(_values(node, e))
    if node.op_type == "Mean" and e.dtype_of(tensors[0]) != "float32":
        raise Decline(f"it is lowered for float32 only, not for {e.dtype_of(tensors[0])}")
    whole = functools.reduce(lambda a, b: e.binary(_MANY[node.op_type], a, b), tensors)
    if node.op_type == "Mean" and len(tensors) > 1:
        whole = e.binary("MUL", whole, e.scalar(1 / len(tensors), whole))
    e.write(node.outputs[0], whole, where)


@lowering("Pow")
def power(node: ir.Node, e: Emitter) -> None:
    """POW, or SQUARE and SQRT for the exponents 2 and ½."""
    base, exponent = required(node, 0), required(node, 1)
    constant, dtype = e.constant(exponent), e.dtype(base)
    if dtype != "float32" and (constant is None or (constant < 0).any() or constant.dtype.kind == "f"):
        raise Decline("an integer base needs constant exponents that are whole and not negative")
    if constant is not None and constant.size == 1 and dtype == "float32" and e.rank(base) >= constant.ndim:
        builtin = {2.0: "SQUARE", 0.5: "SQRT"}.get(float(constant.item()))
        if builtin:
            where = e.layout(base)
            return e.write(node.outputs[0], e.unary(builtin, e.read(base, where)), where)
    (a, b), where = e.operands([base, exponent])
    return e.write(node.outputs[0], e.binary("POW", a, e.cast(b, dtype)), where)


@lowering("Mod")
def modulo(node: ir.Node, e: Emitter) -> None:
    """FLOOR_MOD for ONNX's integer modulo, which takes the sign of the divisor as Python's does."""
    (a, b), where = e.operands(_values(node, e))
    if integer(node, "fmod", 0):
        raise Decline("fmod=1 takes the sign of the dividend; LiteRT's FLOOR_MOD takes that of the divisor")
    e.write(node.outputs[0], e.binary("FLOOR_MOD", a, b), where)


@lowering("BitwiseXor")
def bitwise_xor(node: ir.Node, e: Emitter) -> None:
    """BITWISE_XOR."""
    (a, b), where = e.operands(_values(node, e))
    e.write(node.outputs[0], e.binary("BITWISE_XOR", a, b), where)


@lowering("Where")
def where_(node: ir.Node, e: Emitter) -> None:
    """SELECT_V2."""
    tensors, where = e.operands(_values(node, e))
    e.write(node.outputs[0], e.elementwise("SELECT_V2", tensors), where)


@lowering("PRelu")
def prelu(node: ir.Node, e: Emitter) -> None:
    """PRELU; its slope has the rank of the input less the batch, so that XNNPACK takes it."""
    x, slope = required(node, 0), required(node, 1)
    if e.rank(slope) > e.rank(x):
        raise Decline("the slope has a higher rank than the input")
    (data, alpha), where = e.operands([x, slope])
    if len(where) > 4:
        raise Decline(f"rank {len(where)}; LiteRT's PRELU handles up to 4")
    rank = len(e.shape_of(data)) - 1
    if len(e.shape_of(alpha)) < rank:
        alpha = e.reshape(alpha, (1,) * (rank - len(e.shape_of(alpha))) + e.shape_of(alpha))
    e.write(node.outputs[0], e.op("PRELU", [data, alpha], np.broadcast_shapes(e.shape_of(data))), where)
