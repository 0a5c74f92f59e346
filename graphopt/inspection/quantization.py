"""In what form a model is quantized, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.quantize.existing import INTEGER

_DYNAMIC = ("DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def quantization(nodes: Sequence[ir.Node]) -> str:
    """The form of quantization that nodes show, "" where there is none.

    QuantizeLinear and DequantizeLinear around float operators ("QDQ"), DequantizeLinear of weights alone ("weights
    only"), operators of integers ("integer operators"), ranges measured at run time ("dynamic"), half precision.
    """
    quantizers = [node for node in nodes if node.op_type == "QuantizeLinear"]
    of_weights = [node for node in nodes if node.op_type == "DequantizeLinear" and _reads_constant(node)]
    integer = [node for node in nodes if node.op_type in INTEGER or node.op_type.startswith("QLinear")]
    forms = []
    if any(node.op_type in _DYNAMIC for node in nodes):
        forms.append("dynamic, ranges measured at run time")
    elif integer:
        forms.append(f"{len(integer)} integer operators")
    if quantizers:
        activations = _types(node.outputs[0] for node in quantizers)
        weights = _types(node.inputs[0] for node in of_weights)
        forms.append(f"QDQ, activations {activations}" + (f", weights {weights}" if weights else ""))
    elif of_weights:
        forms.append(f"weights only, {_types(node.inputs[0] for node in of_weights)}")
    halves = [v for node in nodes for v in node.outputs if v.dtype in _HALVES]
    if halves:
        forms.append(f"{_types(halves)} values")
    return "; ".join(forms)


def _reads_constant(node: ir.Node) -> bool:
    return bool(node.inputs) and constant(node.inputs[0]) is not None


def _types(values: Iterable[ir.Value | None]) -> str:
    return "/".join(sorted({type_name(v.dtype) for v in values if v is not None and v.dtype is not None}))


def type_name(dtype: ir.DataType | None) -> str:
    """The name of an element type as numpy spells it, "?" where it is not known."""
    names = {ir.DataType.FLOAT: "float32", ir.DataType.DOUBLE: "float64"}
    return "?" if dtype is None else names.get(dtype, dtype.name.lower())
