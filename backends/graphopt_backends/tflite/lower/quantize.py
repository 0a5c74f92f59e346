"""QuantizeLinear and DequantizeLinear: QUANTIZE and DEQUANTIZE on codes that LiteRT has, arithmetic on others."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.onnx_node import axis_of, integer, operand, required
from graphopt_backends.tflite.qdq import hold_constant, holder_of, runs, stated, store
from graphopt_backends.tflite.registry import Decline, lowering
from graphopt_backends.tflite.scheme import Quantization


@lowering("DequantizeLinear")
def dequantize(node: ir.Node, e: Emitter) -> None:
    """Nothing at first: the codes are read as they are by integer kernels, and by a DEQUANTIZE for all others."""
    x, y, said = required(node, 0), node.outputs[0], stated(node, e)
    codes = e.constant(x)
    if codes is not None:
        if said is not None:
            return hold_constant(e, y, codes, said)
        return e.fold(y, _numbers(node, e, codes))
    holder = None if said is None else holder_of(e, x, said)
    if holder is None:
        return _dequantize_by_arithmetic(node, e)
    e.codes[y] = holder
    return None


@lowering("QuantizeLinear")
def quantize(node: ir.Node, e: Emitter) -> None:
    """QUANTIZE of numbers, or of other codes of the same width."""
    x, y, said = required(node, 0), node.outputs[0], stated(node, e)
    numbers = e.constant(x)
    if numbers is not None and said is not None:
        return e.fold(y, said.encode(numbers))
    if said is None or not runs(said.signed()[0]) or e.dtype(x) != "float32":
        return _quantize_by_arithmetic(node, e)
    where, holder = e.layout(x), e.codes.get(x)
    same = holder is not None and e.schemes[holder].dtype == said.signed()[0].dtype
    tensor = e.read(holder if same and holder is not None else x, where)
    return store(e, y, said, tensor, where)


def _numbers(node: ir.Node, e: Emitter, codes: np.ndarray) -> np.ndarray:
    """What constant codes stand for, as ONNX's DequantizeLinear says: also in wide types, and by block."""
    scale, zero = (e.constant(value) if value is not None else None for value in (required(node, 1), operand(node, 2)))
    if scale is None or (operand(node, 2) is not None and zero is None):
        raise Decline("the scale or the zero point of a constant is computed at run time")
    factor = _spread(scale, node, codes.shape).astype(np.float64)
    zeros = np.zeros(()) if zero is None else _spread(zero, node, codes.shape).astype(np.float64)
    return np.asarray(((codes.astype(np.float64) - zeros) * factor).astype(scale.dtype))


def _spread(array: np.ndarray, node: ir.Node, shape: tuple[int, ...]) -> np.ndarray:
    """A scale or a zero point that broadcasts against codes of `shape`."""
    if array.size == 1:
        return array.reshape(())
    axis, block = axis_of(integer(node, "axis", 1), len(shape)), integer(node, "block_size", 0)
    if block:
        return np.repeat(array, block, axis)[tuple(slice(dim) for dim in shape)]
    return array.reshape([-1 if position == axis else 1 for position in range(len(shape))])


def _parameters(node: ir.Node, e: Emitter, where: layout.Layout) -> tuple[int, int | None]:
    """Tensors of scale and zero point (as float32) that broadcast against the data stored as `where`."""
    x, scale, point = required(node, 0), required(node, 1), operand(node, 2)
    if integer(node, "block_size", 0) or e.rank(scale) > 1:
        raise Decline("scales by block; LiteRT has one for all, or one for each index of an axis")
    if e.dtype(scale) != "float32":
        raise Decline(f"a scale of {e.dtype(scale)}; LiteRT's are float32")
    shape = [1] * e.rank(x)
    if e.shape(scale) not in ((), (1,)):
        shape[axis_of(integer(node, "axis", 1), e.rank(x))] = -1
    size = e.shape(scale)[0] if -1 in shape else 1
    placed = layout.stored([size if dim == -1 else dim for dim in shape], where)
    factor = e.reshape(e.read(scale), placed)
    if point is None:
        return factor, None
    known = e.constant(point)
    if known is not None and not known.astype(np.int64).any():
        return factor, None
    if known is not None:
        return factor, e.array(np.broadcast_to(known.astype(np.float32), (size,)).reshape(placed))
    return factor, e.reshape(e.cast(e.read(point), "float32"), placed)


def _dequantize_by_arithmetic(node: ir.Node, e: Emitter) -> None:
    x = required(node, 0)
    where = e.layout(x)
    factor, zero = _parameters(node, e, where)
    data = e.cast(e.read(x, where), "float32")
    if zero is not None:
        data = e.binary("SUB", data, zero)
    e.write(node.outputs[0], e.binary("MUL", data, factor), where)


def _quantize_by_arithmetic(node: ir.Node, e: Emitter) -> None:
    x, y = required(node, 0), node.outputs[0]
    dtype, where = e.dtype(y), e.layout(x)
    if e.dtype(x) != "float32" or not dtype.lstrip("u").startswith("int"):
        raise Decline(f"{e.dtype(x)} to {dtype}; LiteRT quantizes float32 to whole numbers")
    half = Quantization(dtype, (1.0,), (0,))
    factor, zero = _parameters(node, e, where)
    data = e.unary("ROUND", e.binary("DIV", e.read(x, where), factor))
    if zero is not None:
        data = e.binary("ADD", data, zero)
    low, high = half.limits()
    data = e.binary("MINIMUM", e.binary("MAXIMUM", data, e.scalar(low, data)), e.scalar(high, data))
    e.write(y, e.cast(data, dtype), where)
