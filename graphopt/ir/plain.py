"""Operators that numpy computes to the bit as the standard defines them: data movement, logic, IEEE arithmetic.

What is left to fold in most models is of this kind, and starting onnxruntime for it would take longer than all the
rest of a run. Whatever is not sure to be the same bits (half precision, a cast that overflows, a division by zero, an
older form of an operator) is left to onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import opset
from graphopt.ir.schema import attribute

Array: TypeAlias = "np.ndarray[Any, Any]"

_SAFE = frozenset({
    ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8,
    ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64, ir.DataType.BOOL,
})  # fmt: skip


def compute(node: ir.Node, inputs: Sequence[Array | None]) -> Array | None:
    """The only output of a node from its inputs (None where one is left out); None where onnxruntime has to do it."""
    function = _FUNCTIONS.get(node.op_type)
    value = node.outputs[0]
    if function is None or node.domain or len(node.outputs) != 1 or value.dtype not in _SAFE:
        return None
    if any(one is not None and ir.DataType.from_numpy(one.dtype) not in _SAFE for one in inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            found = function(node, inputs)
    except (ValueError, IndexError, TypeError):  # a node that onnxruntime shall refuse in its own words
        return None
    if found is None:
        return None
    return np.ascontiguousarray(found).reshape(found.shape).astype(value.dtype.numpy(), copy=False)


def _elementwise(function: Callable[..., Any]) -> Callable[[ir.Node, Sequence[Array]], Array | None]:
    def apply(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
        # Before opset 7, attributes say how to broadcast.
        return None if node.attributes else np.asarray(function(*inputs))

    return apply


def _integers_only(function: Callable[..., Any]) -> Callable[[ir.Node, Sequence[Array]], Array | None]:
    plain = _elementwise(function)
    return lambda node, inputs: plain(node, inputs) if all(one.dtype.kind in "iu" for one in inputs) else None


def _divide(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    over, under = inputs
    if node.attributes:
        return None
    if over.dtype.kind == "f":
        return np.asarray(over / under)
    if not under.all() or (over.dtype.kind == "i" and (over == np.iinfo(over.dtype).min).any()):
        return None
    # The standard cuts towards zero, numpy rounds down.
    quotient = np.abs(over) // np.abs(under)
    return np.asarray(np.where((over < 0) != (under < 0), -quotient, quotient).astype(over.dtype))


def _modulo(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    over, under = inputs
    return np.mod(over, under) if over.dtype.kind in "iu" and not attribute(node, "fmod") and under.all() else None


def _cast(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    to = ir.DataType(attribute(node, "to"))
    if to not in _SAFE:
        return None
    given, dtype = inputs[0], to.numpy()
    if given.dtype.kind == "f" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = np.trunc(given.astype(np.float64))
        if not (np.isfinite(whole).all() and (whole >= limits.min).all() and (whole < limits.max).all()):
            return None
    return given.astype(dtype)


def _reshape(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    given, wanted = inputs
    sizes = [int(size) for size in wanted]
    if not attribute(node, "allowzero"):
        sizes = [given.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return given.reshape(sizes)


def _transpose(node: ir.Node, inputs: Sequence[Array]) -> Array:
    return inputs[0].transpose(attribute(node, "perm"))


def _axes(node: ir.Node, inputs: Sequence[Array | None]) -> list[int] | None:
    held = attribute(node, "axes")
    if held is None and len(inputs) > 1 and inputs[1] is not None:
        held = inputs[1]
    return None if held is None else [int(axis) for axis in held]


def _unsqueeze(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    axes = _axes(node, inputs)
    return None if axes is None else np.expand_dims(inputs[0], tuple(axes))


def _squeeze(node: ir.Node, inputs: Sequence[Array]) -> Array:
    axes = _axes(node, inputs)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))


def _slice(node: ir.Node, inputs: Sequence[Array | None]) -> Array | None:
    given = inputs[0]
    if given is None or opset(node) < 10:
        return None
    starts, ends, axes, steps = ([int(n) for n in one] if one is not None else None for one in _padded(inputs[1:], 4))
    if starts is None or ends is None:
        return None
    cut = [slice(None)] * given.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[place] if axes is not None else place, steps[place] if steps is not None else 1
        size = given.shape[axis]
        if not size:
            return None
        start, end = (n + size if n < 0 else n for n in (start, end))
        if step > 0:
            start, end = min(max(start, 0), size), min(max(end, 0), size)
        else:
            start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
        # Going down to before the first element has no number in numpy: -1 is the last element there.
        cut[axis] = slice(start, None if end < 0 else end, step)
    return given[tuple(cut)]


def _padded(inputs: Sequence[Array | None], count: int) -> list[Array | None]:
    return [*inputs, *[None] * (count - len(inputs))]


def _concat(node: ir.Node, inputs: Sequence[Array]) -> Array:
    return np.concatenate(inputs, axis=attribute(node, "axis"))


def _gather(node: ir.Node, inputs: Sequence[Array]) -> Array:
    return np.asarray(inputs[0].take(inputs[1], axis=attribute(node, "axis"), mode="raise"))


def _expand(node: ir.Node, inputs: Sequence[Array]) -> Array:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(n) for n in inputs[1]))
    return np.broadcast_to(inputs[0], shape)


def _tile(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    return np.tile(inputs[0], inputs[1]) if opset(node) >= 6 and len(inputs[1]) == inputs[0].ndim else None


def _constant_of_shape(node: ir.Node, inputs: Sequence[Array]) -> Array:
    held = attribute(node, "value")
    fill = held.numpy().reshape(()) if held is not None else np.zeros((), np.float32)
    return np.broadcast_to(fill, tuple(int(n) for n in inputs[0]))


def _range(node: ir.Node, inputs: Sequence[Array]) -> Array | None:
    if inputs[0].dtype.kind != "i":
        return None
    start, limit, delta = (int(one) for one in inputs)
    return np.arange(start, limit, delta, dtype=inputs[0].dtype) if delta else None


_FUNCTIONS: dict[str, Callable[[ir.Node, Any], Array | None]] = {
    "Identity": lambda node, inputs: inputs[0],
    "Reshape": lambda node, inputs: _reshape(node, inputs) if len(inputs) == 2 else None,
    "Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Slice": _slice, "Concat": _concat,
    "Gather": _gather, "Expand": _expand, "Tile": _tile, "ConstantOfShape": _constant_of_shape, "Range": _range,
    "Cast": _cast,
    "Add": _elementwise(np.add), "Sub": _elementwise(np.subtract), "Mul": _elementwise(np.multiply), "Div": _divide,
    "Mod": _modulo, "Neg": _elementwise(np.negative), "Abs": _elementwise(np.abs), "Sqrt": _elementwise(np.sqrt),
    "Floor": _elementwise(np.floor), "Ceil": _elementwise(np.ceil), "Reciprocal": _elementwise(lambda x: 1 / x),
    "Min": _integers_only(lambda *x: np.minimum.reduce(np.broadcast_arrays(*x))),
    "Max": _integers_only(lambda *x: np.maximum.reduce(np.broadcast_arrays(*x))),
    "Not": _elementwise(np.logical_not), "And": _elementwise(np.logical_and), "Or": _elementwise(np.logical_or),
    "Xor": _elementwise(np.logical_xor), "Equal": _elementwise(np.equal), "Less": _elementwise(np.less),
    "Greater": _elementwise(np.greater), "LessOrEqual": _elementwise(np.less_equal),
    "GreaterOrEqual": _elementwise(np.greater_equal), "Where": _elementwise(np.where),
}  # fmt: skip
