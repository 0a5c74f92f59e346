"""Quantized numbers in arithmetic, and layers between a DequantizeLinear and a QuantizeLinear: what rules share.

    real = (quantized - zero point) · scale        quantized = saturate(round(real / scale) + zero point)

with halves rounded to even, a scale and a zero point for the whole tensor, for each index of an axis, or for each
block of indices of an axis (ONNX, QuantizeLinear and DequantizeLinear, opset 10 to 28).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, shape_of, static_shape
from graphopt.rewrite.rule import Builder
from graphopt_passes.parts import reshape

_T = ir.DataType
RANGES = {
    _T.UINT8: (0, 255), _T.INT8: (-128, 127), _T.UINT16: (0, 65535), _T.INT16: (-32768, 32767),
    _T.UINT4: (0, 15), _T.INT4: (-8, 7), _T.UINT2: (0, 3), _T.INT2: (-2, 1),
}  # fmt: skip
"""The least and the largest number of each quantized type."""
CAST_SINCE = {_T.UINT4: 21, _T.INT4: 21, _T.UINT2: 25, _T.INT2: 25}
"""The opset from which Cast knows a type, where that is not the first."""
_ROUND_SINCE, _CLIP_INPUTS_SINCE, _AXIS_SINCE = 11, 11, 13


def lazy(shape: Sequence[int], compute: Callable[[], np.ndarray], dtype: ir.DataType = _T.FLOAT) -> ir.LazyTensor:
    """A constant that is computed when it is read, since a rule is tried more often than it is applied."""
    make = functools.partial(_tensor, compute, dtype)
    return ir.LazyTensor(make, dtype=dtype, shape=ir.Shape(shape), cache=True)


def _tensor(compute: Callable[[], np.ndarray], dtype: ir.DataType) -> ir.TensorProtocol:
    return ir.Tensor(np.ascontiguousarray(compute().astype(dtype.numpy())))


def scalar(op: Builder, value: ir.Value) -> ir.Value | np.ndarray:
    """A scale or a zero point of one element without dimensions; any other as it is."""
    tensor, shape = constant(value), static_shape(value)
    if shape in (None, ()) or math.prod(shape) != 1:
        return value
    return tensor.numpy().reshape(()) if tensor is not None else reshape(op, value, [])


def real(op: Builder, x: ir.Value, scale: ir.Value, zero: ir.Value | None = None, axis: int | None = None) -> ir.Value:
    """A DequantizeLinear.

    Args:
        op: makes the nodes.
        x: the quantized numbers.
        scale: of one element, or of one for each index of `axis`.
        zero: likewise; None is 0.
        axis: of x, not negative.

    Raises:
        Declined: the scale is along an axis, and the opset has no word for it.
    """
    factor, offset = scalar(op, scale), None if zero is None else scalar(op, zero)
    if _is_single(factor):
        made: ir.Value = op.DequantizeLinear(x, factor, offset)
        return made
    if op.opset < _AXIS_SINCE or axis is None or not _are_lists(factor, offset):
        raise op.decline("it has a scale for each index of an axis")
    found: ir.Value = op.DequantizeLinear(x, factor, offset, axis=axis)
    return found


def whole(op: Builder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, axis: int | None = None) -> ir.Value:
    """A QuantizeLinear; arguments as of `real`."""
    factor, offset = scalar(op, scale), None if zero is None else scalar(op, zero)
    if _is_single(factor):
        made: ir.Value = op.QuantizeLinear(x, factor, offset)
        return made
    if op.opset < _AXIS_SINCE or axis is None or not _are_lists(factor, offset):
        raise op.decline("its result has a scale for each index of an axis")
    found: ir.Value = op.QuantizeLinear(x, factor, offset, axis=axis)
    return found


def _is_single(value: ir.Value | np.ndarray | None) -> bool:
    return _rank(value) == 0


def _are_lists(scale: ir.Value | np.ndarray, zero: ir.Value | np.ndarray | None) -> bool:
    """Whether both have one axis, as the standard's operators take them; onnxruntime's own take rows as well."""
    return _rank(scale) == 1 and (zero is None or _rank(zero) == 1)


def _rank(value: ir.Value | np.ndarray | None) -> int | None:
    if isinstance(value, np.ndarray):
        return value.ndim
    shape = shape_of(value)
    return None if shape is None else len(shape)


def as_float(op: Builder, value: ir.Value | np.ndarray) -> ir.Value | np.ndarray:
    """A value as float32; a constant is converted here."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float32)
    if value.dtype == _T.FLOAT:
        return value
    tensor, before = constant(value), before_cast(value)
    if before is not None:
        return before
    found: ir.Value = op.Cast(value, to=int(_T.FLOAT))
    return tensor.numpy().astype(np.float32) if tensor is not None else found


def before_cast(value: ir.Value) -> ir.Value | None:
    """The whole numbers of float32 that a quantized value was cast from, None where it is made in another way."""
    cast = value.producer()
    clip = _maker(cast, "Cast")
    made = _maker(clip, "Clip")
    if clip is None or made is None or value.dtype not in RANGES:
        return None
    rounded = made.op_type == "Round" or (made.op_type == "Add" and all(_is_whole(one) for one in made.inputs))
    bounds = [one for one in map(constant, clip.inputs[1:]) if one is not None]
    if not rounded or len(bounds) != 2 or clip.outputs[0].dtype != _T.FLOAT:
        return None
    low, high = (float(one.numpy().reshape(())) for one in bounds)
    least, most = RANGES[value.dtype]
    return clip.outputs[0] if least <= low and high <= most else None


def _maker(node: ir.Node | None, op_type: str) -> ir.Node | None:
    """What makes the first input of a node of this operator."""
    if node is None or node.op_type != op_type or node.inputs[0] is None:
        return None
    return node.inputs[0].producer()


def _is_whole(value: ir.Value | None) -> bool:
    tensor = constant(value)
    if tensor is not None:
        array = tensor.numpy()
        return bool((np.rint(array) == array).all())
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Clip":
        node = _maker(node, "Clip")
    return node is not None and node.op_type == "Round"


def multiplied(
    op: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    axis: int,
    block: int = 0,
    like: ir.Value | None = None,
) -> ir.Value:
    """(x - zero) · scale in float32, as arithmetic; a constant where all of them are.

    Args:
        op: makes the nodes.
        x: whole numbers, of an integer or a floating-point type.
        scale: as of DequantizeLinear.
        zero: likewise.
        axis: of x, along which a scale of several elements goes; may be negative.
        block: how many indices of the axis share a scale, 0 for none.
        like: has the shape of x, where x was made just now, as float32.

    Raises:
        Declined: the shapes that this needs are not known.
    """
    like = x if like is None else like
    tensors = [constant(one) for one in (x, scale, zero)]
    dims = static_shape(like)
    if dims is not None and tensors[0] is not None and tensors[1] is not None and (zero is None or tensors[2]):
        arrays = [one for one in tensors if one is not None]
        kept: ir.Value = op.Identity(op.constant(lazy(dims, lambda: _multiplied(arrays, dims, axis, block))))
        return kept
    factor = _spread(op, scale, like, axis, block)
    offset = None if zero is None else _spread(op, zero, like, axis, block)
    value = x if like is not x else as_float(op, x)
    if offset is not None and not (isinstance(offset, np.ndarray) and not offset.any()):
        value = op.Sub(value, as_float(op, offset))
    done: ir.Value = op.Mul(value, as_float(op, factor))
    return done


def _multiplied(arrays: Sequence[ir.TensorProtocol], dims: Sequence[int], axis: int, block: int) -> np.ndarray:
    numbers: np.ndarray
    numbers, factor, *offset = (one.numpy().astype(np.float32) for one in arrays)
    for one in offset:
        numbers = numbers - aligned(one, dims, axis, block)
    return np.multiply(numbers, aligned(factor, dims, axis, block))


def divided(
    op: Builder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, dtype: ir.DataType, axis: int, block: int = 0
) -> ir.Value:
    """saturate(round(x / scale) + zero) in float32, as arithmetic; see `multiplied`.

    Raises:
        Declined: the shapes that blocks need are not known.
    """
    factor = _spread(op, scale, x, axis, block)
    offset = None if zero is None else _spread(op, zero, x, axis, block)
    value = _rounded(op, op.Div(as_float(op, x), as_float(op, factor)))
    if offset is not None and not (isinstance(offset, np.ndarray) and not offset.any()):
        value = op.Add(value, as_float(op, offset))
    low, high = RANGES[dtype]
    if op.opset < _CLIP_INPUTS_SINCE:
        held: ir.Value = op.Clip(value, min=float(low), max=float(high))
        return held
    clipped: ir.Value = op.Clip(value, np.array(low, np.float32), np.array(high, np.float32))
    return clipped


def _rounded(op: Builder, value: ir.Value) -> ir.Value:
    """The nearest whole number, of two the even one."""
    if op.opset >= _ROUND_SINCE:
        found: ir.Value = op.Round(value)
        return found
    half, two = np.array(0.5, np.float32), np.array(2, np.float32)
    up, down = op.Floor(op.Add(value, half)), op.Ceil(op.Sub(value, half))
    odd = op.Sub(up, op.Mul(op.Floor(op.Div(up, two)), two))
    even: ir.Value = op.Sub(up, op.Mul(op.Sub(up, down), odd))  # the two differ for a half alone
    return even


def _spread(op: Builder, value: ir.Value, x: ir.Value, axis: int, block: int) -> ir.Value | np.ndarray:
    """A scale or a zero point in a shape that broadcasts to x."""
    dims, own, tensor = shape_of(x), shape_of(value), constant(value)
    if own is None:
        raise op.decline("the rank of a scale or a zero point is not known")
    if len(own) == 0 or (block == 0 and own.is_static() and math.prod(own.numpy()) == 1):
        return scalar(op, value) if len(own) else (tensor.numpy() if tensor is not None else value)
    if dims is None:
        raise op.decline("the rank of the tensor is not known")
    axis %= len(dims)
    if block == 0:
        after = [1] * (len(dims) - axis - 1)
        if tensor is not None:
            return tensor.numpy().reshape(-1, *after)
        return reshape(op, value, [-1, *after]) if after else value
    sizes = static_shape(x)
    if sizes is None:
        raise op.decline("it has blocks, and a dynamic shape")
    if tensor is not None:
        return aligned(tensor.numpy(), sizes, axis, block)
    if sizes[axis] % block:
        raise op.decline("the last block is not full, and its scale is computed at run time")
    count = sizes[axis] // block
    apart = [*sizes[:axis], count, 1, *sizes[axis + 1 :]]
    repeats = np.array([1] * (axis + 1) + [block] + [1] * (len(sizes) - axis - 1), np.int64)
    return reshape(op, op.Tile(reshape(op, value, apart), repeats), sizes)


def aligned(array: np.ndarray, dims: Sequence[int], axis: int, block: int) -> np.ndarray:
    """A constant scale or zero point in a shape that broadcasts to `dims`."""
    if array.size == 1 and not block:
        return array.reshape(())
    axis %= len(dims)
    if block and array.ndim == len(dims):
        return np.repeat(array, block, axis=axis).take(np.arange(dims[axis]), axis=axis)
    return array.reshape(-1, *[1] * (len(dims) - axis - 1))
