"""Operators that compute entry by entry, with broadcasting: all axes correspond."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.channels.graph import ChannelGraph
from graphopt.channels.operators.common import align, flag, present, value_of
from graphopt.channels.registry import relate

UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Cos", "Cosh",
    "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log",
    "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Bernoulli", "RandomNormalLike",
    "RandomUniformLike",
)  # fmt: skip
BROADCAST = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Clip", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum",
    "Where", "Xor",
)  # fmt: skip


@relate(*UNARY, *BROADCAST)
@relate("Gelu", "QuickGelu", "FastGelu", "BiasGelu", domain="com.microsoft")
def broadcast(node: ir.Node, graph: ChannelGraph) -> None:
    """Every input is broadcast to the output."""
    for value in present(node.inputs):
        align(graph, value, node.outputs[0])


@relate("CastLike", "Dropout", "DynamicQuantizeLinear")
def first_only(node: ir.Node, graph: ChannelGraph) -> None:
    """The first input decides the shape; the others are scalars or of no account."""
    value = node.inputs[0]
    assert value is not None
    for out in node.outputs:
        if out in graph.shapes:
            align(graph, value, out)


@relate("QuantizeLinear", "DequantizeLinear")
def quantize(node: ir.Node, graph: ChannelGraph) -> None:
    """Scale and zero point may be per entry of one axis; blocks of entries are pinned."""
    value, out = node.inputs[0], node.outputs[0]
    assert value is not None
    align(graph, value, out)
    for extra in present([value_of(node, 1), value_of(node, 2)]):
        shape = graph.shape(extra)
        if len(shape) == 1 and shape[0] > 1:
            graph.same(graph.axis(extra, 0), graph.axis(value, flag(node, "axis", 1)))
        elif len(shape) > 1:
            graph.pin_all((value, out, extra), "it is quantized in blocks")
