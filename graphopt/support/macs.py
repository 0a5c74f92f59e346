"""Multiply-accumulates of a node, from its shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphopt.ir.edit import static_shape

if TYPE_CHECKING:
    import onnx_ir as ir

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def macs(node: ir.Node) -> int | None:
    """Multiply-accumulates of one execution of a node.

    Counted are the operators whose cost is a sum of products (ONNX operator definitions): with X the input, W the
    weights and Y the output,

        Conv            |Y| · C/group · Π kernel  =  |Y| · |W[0]|
        ConvTranspose   |X| · |W[0]|
        MatMul, Gemm    |Y| · K
        LSTM, GRU, RNN  steps · batch · directions · gates · hidden · (input + hidden)

    Returns:
        The count; 0 for every other operator; None where a shape that decides it is not static.
    """
    op = node.op_type
    if node.domain not in ("", "ai.onnx"):
        return 0
    if op in ("Conv", "ConvInteger", "QLinearConv"):
        weights = 3 if op == "QLinearConv" else 1
        return _product(_sizes(node.outputs[0]), _sizes(node.inputs[weights], skip=1))
    if op == "ConvTranspose":
        return _product(_sizes(node.inputs[0]), _sizes(node.inputs[1], skip=1))
    if op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        inner = _sizes(node.inputs[0])
        return _product(_sizes(node.outputs[0]), inner[-1:] if inner is not None else None)
    if op == "Gemm":
        inner = _sizes(node.inputs[0])
        transposed = "transA" in node.attributes and node.attributes["transA"].as_int()
        return _product(_sizes(node.outputs[0]), None if inner is None else inner[:1] if transposed else inner[1:])
    if op in _GATES:
        source, weights_, recurrent = (_sizes(value) for value in node.inputs[:3])
        if source is None or weights_ is None or recurrent is None:
            return None
        return source[0] * source[1] * (math.prod(weights_) + math.prod(recurrent))
    return 0


def _sizes(value: ir.Value | None, skip: int = 0) -> tuple[int, ...] | None:
    shape = static_shape(value)
    return None if shape is None else shape[skip:]


def _product(*factors: tuple[int, ...] | None) -> int | None:
    total = 1
    for factor in factors:
        if factor is None:
            return None
        total *= math.prod(factor)
    return total
