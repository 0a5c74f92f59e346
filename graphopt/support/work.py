"""The work of a node and of a model, from shapes: multiply-accumulates, and bytes moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from graphopt.ir.edit import nodes_of, static_shape

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True)
class Work:
    """What one inference takes, as far as shapes are static.

    Attributes:
        macs: multiply-accumulates.
        moved: bytes that operators read and write.
    """

    macs: int
    moved: int

    def as_metrics(self, when: str) -> dict[str, float]:
        """For a pass's metrics, as `when` = "before" or "after" it."""
        return {f"macs_{when}": self.macs, f"moved_bytes_{when}": self.moved}


def work(model: ir.Model) -> Work:
    """The work of a model's nodes, those of bodies counted once."""
    nodes = list(nodes_of(model.graph))
    return Work(sum(macs(node) or 0 for node in nodes), round(sum(moved_bytes(node) for node in nodes)))


def moved_bytes(node: ir.Node) -> float:
    """Bytes that a node reads and writes; what has no static shape counts nothing."""
    return sum(_bytes(value) for value in (*node.inputs, *node.outputs) if value is not None)


def _bytes(value: ir.Value) -> float:
    shape = static_shape(value)
    bits = value.dtype.bitwidth if value.dtype is not None and value.dtype != ir.DataType.STRING else 32
    return 0.0 if shape is None else math.prod(shape) * bits / 8


def macs(node: ir.Node) -> int | None:
    """Multiply-accumulates of one execution of a node.

    Counted are the operators whose cost is a sum of products (ONNX operator definitions): with X the input, W the
    weights and Y the output,

        Conv            |Y| · C/group · Π kernel  =  |Y| · |W[0]|
        ConvTranspose   |X| · |W[0]|
        MatMul, Gemm    |Y| · K
        Einsum          the product of all labels' sizes, for two operands
        Attention       |Q| · keys + |Y| · keys
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
    if op == "Einsum":
        return _einsum(node)
    if op == "Attention":
        keys = _sizes(node.inputs[1])
        keys = None if keys is None else keys[-2:-1]
        asked, mixed = _product(_sizes(node.inputs[0]), keys), _product(_sizes(node.outputs[0]), keys)
        return None if asked is None or mixed is None else asked + mixed
    if op in _GATES:
        source, weights_, recurrent = (_sizes(value) for value in node.inputs[:3])
        if source is None or weights_ is None or recurrent is None:
            return None
        return source[0] * source[1] * (math.prod(weights_) + math.prod(recurrent))
    return 0


def _einsum(node: ir.Node) -> int | None:
    terms = node.attributes["equation"].as_string().replace(" ", "").split("->")[0].split(",")
    shapes = [_sizes(value) for value in node.inputs]
    if len(terms) != 2 or len(shapes) != 2:
        return 0
    labels: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None:
            return None
        spread = len(shape) - len(term.replace("...", ""))
        names = list(term.replace("...", "".join(chr(0x100 + n) for n in range(spread))))
        for name, size in zip(names, shape, strict=False):
            labels[name] = max(labels.get(name, 1), size)
    return math.prod(labels.values())


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
