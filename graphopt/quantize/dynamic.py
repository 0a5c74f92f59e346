"""Dynamic quantization: activations get their range at run time, so no samples are needed.

    x ─ MatMul(w) ─ y     becomes     x ─ DynamicQuantizeLinear ─ MatMulInteger(codes of w) ─ Cast ─ Mul(s_x · s_w) ─ y

Source: ONNX operators DynamicQuantizeLinear (uint8 codes), MatMulInteger and ConvInteger.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, mark, redirect
from graphopt.quantize.grid import of_weights, store
from graphopt.quantize.insert import drop_unread
from graphopt.quantize.scheme import Scheme
from graphopt.quantize.units import Unit, numbers, units_of

_INTEGER = {"MatMul": "MatMulInteger", "Gemm": "MatMulInteger", "Conv": "ConvInteger"}


def quantize_dynamic(
    model: ir.Model, scheme: Scheme, excluded: Collection[ir.Node] = (), made_by: str = "quantize"
) -> int:
    """Quantize weighted operators in place; activations that several of them read are quantized once.

    Returns:
        How many operators.
    """
    plain = scheme.model_copy(update={"adds_bias": False, "clamps": False})
    units = [u for u in units_of(model.graph, plain, list(excluded)) if u.role == "weighted"]
    writer = _Writer(model, scheme, made_by)
    for unit in units:
        writer.write(unit)
    drop_unread(model.graph)
    return len(units)


class _Writer:
    def __init__(self, model: ir.Model, scheme: Scheme, made_by: str) -> None:
        self._graph, self._names, self._scheme, self._made_by = model.graph, Names(model), scheme, made_by
        self._fed: dict[ir.Value, ir.Node] = {}
        self._made: list[ir.Node] = []

    def write(self, unit: Unit) -> None:
        """Put the integer form of one operator in its place."""
        node, self._made = unit.node, []
        array, bias = numbers(unit.weight), numbers(unit.bias)
        assert array is not None
        rank = array.ndim if node.op_type == "Conv" else 1
        shape = (-1, *[1] * (rank - 2)) if node.op_type == "Conv" else (-1,)
        grid = of_weights(array, self._scheme.weights, unit.axis)
        codes = grid.encode(array)
        if node.op_type == "Gemm" and unit.axis == 0:
            codes = np.ascontiguousarray(codes.T)
        fed = self._quantized(next(unit.inputs()), node)
        attributes = list(node.attributes.values()) if node.op_type == "Conv" else []
        stored = self._constant(store(codes, grid.codes), f"{unit.weight.name}_quantized")
        # The weights have no zero point, and a zero point in its place would be read as that of each column.
        product = self._node(
            _INTEGER[node.op_type], [fed.outputs[0], stored, fed.outputs[2]], attributes, ir.DataType.INT32
        )
        real = self._node("Cast", [product], [ir.AttrInt64("to", int(ir.DataType.FLOAT))])
        scale = grid.scale.reshape(shape) if grid.scale.ndim else grid.scale
        both = self._node("Mul", [fed.outputs[1], self._constant(scale, f"{unit.weight.name}_scale")], [])
        result = self._node("Mul", [real, both], [])
        if bias is not None:
            added = self._constant(bias.reshape(shape), f"{node.name}_bias")
            result = self._node("Add", [result, added], [])
        self._graph.insert_before(node, self._made)
        mark(self._made, self._made_by, [node])
        redirect(node.outputs[0], result)
        self._graph.remove(node, safe=True)

    def _quantized(self, value: ir.Value, reader: ir.Node) -> ir.Node:
        if value not in self._fed:
            name = self._names.fresh(f"{value.name}_dynamic")
            node = ir.node("DynamicQuantizeLinear", [value], num_outputs=3, name=name)
            kinds = (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8)
            for out, word, kind in zip(node.outputs, ("codes", "scale", "zero"), kinds, strict=True):
                out.name, out.type = self._names.fresh(f"{value.name}_{word}"), ir.TensorType(kind)
            source = value.producer()
            if source is None:
                self._graph.insert_before(next(iter(self._graph)), [node])
            else:
                self._graph.insert_after(source, [node])
            mark([node], self._made_by, [reader])
            self._fed[value] = node
        return self._fed[value]

    def _constant(self, array: np.ndarray, name: str) -> ir.Value:
        return add_constant(self._graph, array, self._names.fresh(name))

    def _node(
        self, op_type: str, inputs: list[ir.Value], attributes: list[Any], dtype: ir.DataType = ir.DataType.FLOAT
    ) -> ir.Value:
        stem = self._names.fresh(f"{inputs[0].name}_{op_type.lower()}")
        node = ir.Node("", op_type, inputs, attributes, name=stem)
        node.outputs[0].name, node.outputs[0].type = self._names.fresh(stem), ir.TensorType(dtype)
        self._made.append(node)
        return node.outputs[0]
