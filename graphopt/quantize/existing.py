"""Models that are quantized already: what of them is understood, and how they get other codes.

    x ─ Q ─ DQ ─ y     becomes     x ─ Clip(low, high) ─ y,     with low and high the ends of what the codes reach

Rounding is undone, saturation is kept: a quantizer may have left out a Relu that it implied. The ends are the range
that the value is quantized over again, so a model comes to another backend with the ranges it was made with.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, constant, is_read, mark, nodes_of, redirect, shape_of
from graphopt.quantize.insert import drop_unread

INTEGER = frozenset({
    "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulBnb4",
    "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "QAttention", "QEmbedLayerNormalization", "QGemm",
    "QLinearConv", "QLinearMatMul", "GatherBlockQuantized",
})  # fmt: skip
"""Operators of quantized numbers that are not conversions; those named QLinear… are as well."""
_FLOAT = ir.DataType.FLOAT


def integer_operators(model: ir.Model) -> Counter[str]:
    """How often each operator of quantized numbers occurs, conversions not counted."""
    found = Counter(node.op_type for graph in [model.graph] for node in nodes_of(graph))
    return Counter({name: n for name, n in found.items() if name in INTEGER or name.startswith("QLinear")})


def unquantize(model: ir.Model, made_by: str) -> dict[str, tuple[float, float]]:
    """Make a model of QuantizeLinear and DequantizeLinear one of floats again, in place.

    Returns:
        The range of the codes of each value that was quantized, by the value's name. What cannot be undone (scales
        computed at run time, codes that anything but a DequantizeLinear reads) stays as it is.
    """
    names, ranges = Names(model), {}
    for node in [n for n in model.graph if n.op_type == "DequantizeLinear" and n.domain in ("", "ai.onnx")]:
        source = node.inputs[0]
        if source is None or node.outputs[0].dtype != _FLOAT:
            continue
        held = constant(source)
        parameters = [constant(value) for value in node.inputs[1:] if value is not None]
        if None in parameters:
            continue
        arrays = [one.numpy() for one in parameters if one is not None]
        scale, zero = arrays[0], arrays[1] if len(arrays) > 1 else np.zeros_like(arrays[0])
        if held is not None:
            real = _real(held.numpy(), scale, zero, node)
            if real is not None and not node.outputs[0].is_graph_output():
                value = add_constant(model.graph, real, names.fresh(f"{source.name}_real"))
                node.outputs[0].replace_all_uses_with(value)
                model.graph.remove(node, safe=True)
            continue
        quantizer = source.producer()
        if quantizer is None or quantizer.op_type != "QuantizeLinear" or scale.size != 1 or source.dtype is None:
            continue
        number = quantizer.inputs[0]
        assert number is not None
        least, most = _limits(source.dtype)
        low, high = ((end - float(zero.reshape(-1)[0])) * float(scale.reshape(-1)[0]) for end in (least, most))
        bounds = [
            add_constant(model.graph, np.array(end, np.float32), names.fresh(f"{number.name}_{word}"))
            for end, word in ((low, "least"), (high, "most"))
        ]
        clip = ir.node("Clip", [number, *bounds], name=names.fresh(f"{number.name}_range"))
        clip.outputs[0].name = names.fresh(f"{number.name}_ranged")
        clip.outputs[0].type = ir.TensorType(_FLOAT)
        clip.outputs[0].shape = shape_of(node.outputs[0])
        model.graph.insert_after(node, [clip])
        mark([clip], made_by, [node])
        redirect(node.outputs[0], clip.outputs[0])
        model.graph.remove(node, safe=True)
        if not is_read(source):
            model.graph.remove(quantizer, safe=True)
        ranges[number.name or ""] = ranges[clip.outputs[0].name or ""] = (low, high)
    drop_unread(model.graph)
    return ranges


def _limits(dtype: ir.DataType) -> tuple[int, int]:
    bits, signed = dtype.bitwidth, not dtype.name.startswith("U")
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _real(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray, node: ir.Node) -> np.ndarray | None:
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    if block:
        repeat = [np.repeat(one, block, axis) for one in (scale, zero)]
        scale, zero = (one[tuple(slice(size) for size in codes.shape)] for one in repeat)
    elif scale.ndim:
        if scale.size == 1:
            scale, zero = scale.reshape(()), zero.reshape(())
        else:
            shape = [-1 if place == axis % codes.ndim else 1 for place in range(codes.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
    wide = codes.astype(np.float64) - zero.astype(np.float64)
    made: np.ndarray = (wide * scale.astype(np.float64)).astype(np.float32)
    return made
