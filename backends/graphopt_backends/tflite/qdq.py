"""QuantizeLinear and DequantizeLinear as LiteRT sees them: who holds the codes, and what they stand for.

The codes of an ONNX value are held by that value itself where they are signed, and by another one where they are not:
the integer kernels take int8 and int16 only, so the codes of uint8 are moved down by 128 (see `scheme`).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt_backends.tflite.activation import sole_user
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.onnx_node import axis_of, integer, operand, required
from graphopt_backends.tflite.rules import FIXED
from graphopt_backends.tflite.scheme import SIGNED, Quantization

_CODES = ("int4", "uint4", "int8", "uint8", "int16", "uint16")
COARSER = 0.9
"""A prescribed range may be this much wider than the one asked for: measured ranges of a sigmoid end before 0 and 1."""
_FINER = 1.02  # 0 to 1 is divided by 255 or by 256


def stated(node: ir.Node, e: Emitter) -> Quantization | None:
    """What a QuantizeLinear or DequantizeLinear says of its codes; None where LiteRT has no form for it.

    It has none for scales that are computed at run time, for scales by block, and for codes of more than 16 bits.
    """
    scale, point = e.constant(required(node, 1)), operand(node, 2)
    zero = None if point is None else e.constant(point)
    if scale is None or scale.dtype != np.float32 or (point is not None and zero is None):
        return None
    dtype = _dtype(node, e)
    blocked = integer(node, "block_size", 0) or scale.ndim > 1
    if dtype not in _CODES or blocked or not (np.isfinite(scale) & (scale > 0)).all():
        return None
    zeros = np.zeros(scale.shape, np.int32) if zero is None else np.broadcast_to(zero.astype(np.int32), scale.shape)
    axis = None if scale.size == 1 else axis_of(integer(node, "axis", 1), e.rank(required(node, 0)))
    return Quantization(
        dtype, tuple(float(one) for one in scale.reshape(-1)), tuple(int(one) for one in zeros.reshape(-1)), axis
    )


def _dtype(node: ir.Node, e: Emitter) -> str:
    if node.op_type == "DequantizeLinear":
        return e.dtype(required(node, 0))
    point = operand(node, 2)
    if point is not None:
        return e.dtype(point)
    wanted = integer(node, "output_dtype", 0)
    return str(ir.DataType(wanted).numpy()) if wanted else "uint8"


def runs(scheme: Quantization) -> bool:
    """Whether LiteRT's kernels take activations in these (signed) codes."""
    return scheme.axis is None and (scheme.dtype == "int8" or (scheme.dtype == "int16" and scheme.symmetric))


def quantizer(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that is all that reads `value`."""
    user = sole_user(value)
    return user if user is not None and _is(user, "QuantizeLinear") and user.inputs[0] is value else None


def store(e: Emitter, value: ir.Value, said: Quantization, tensor: int, where: Layout) -> None:
    """Say that `tensor` holds the codes of `value`, the output of a QuantizeLinear that says `said`.

    Codes that are only ever read back may stay under a scheme that is nearly the one asked for.

    Args:
        e: the emitter.
        value: the codes.
        said: what they stand for in the model.
        tensor: numbers, or codes under another scheme.
        where: the layout of `tensor`.
    """
    scheme, _ = said.signed()
    made = e.quantization_of(tensor)
    if made is not None and alike(made, scheme) and only_read_back(value, said, e):
        scheme = made
    codes = e.quantize(tensor, scheme)
    holder = value if said.dtype == scheme.dtype else _holder(value, scheme)
    holder, _ = e.held.setdefault(value, (holder, said))
    e.schemes[holder] = scheme
    Emitter.write(e, holder, codes, where)
    if holder is not value and not _only_dequantized(value):
        Emitter.write(e, value, e.quantize(codes, said), where)


def _holder(value: ir.Value, scheme: Quantization) -> ir.Value:
    return ir.Value(name=value.name, shape=value.shape, type=ir.TensorType(ir.DataType[scheme.dtype.upper()]))


def alike(made: Quantization, scheme: Quantization) -> bool:
    """Whether nothing that can be measured is lost when codes stay in `made`, which the kernel prescribes or has."""
    if made.dtype != scheme.dtype or made.axis is not None:
        return False
    least = COARSER if made in FIXED.values() else 1.0
    return (made.zero == scheme.zero or least < 1) and least <= scheme.scale[0] / made.scale[0] <= _FINER


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and node.domain in ("", "ai.onnx")


def _only_dequantized(value: ir.Value) -> bool:
    return not value.is_graph_output() and all(
        _is(use.node, "DequantizeLinear") and use.idx == 0 for use in value.uses()
    )


def only_read_back(value: ir.Value, said: Quantization, e: Emitter) -> bool:
    """Whether the codes in `value` are only ever turned back into the numbers that they stand for."""
    return _only_dequantized(value) and all(stated(use.node, e) == said for use in value.uses())


def hold_constant(e: Emitter, value: ir.Value, codes: np.ndarray, said: Quantization) -> None:
    """Say that `value` is what the constant `codes` stand for."""
    scheme, shift = said.signed()
    holder = ir.Value(name=value.name)
    e.fold(holder, (codes.astype(np.int32) + shift).astype(scheme.dtype))
    e.schemes[holder], e.codes[value] = scheme, holder


def holder_of(e: Emitter, value: ir.Value, said: Quantization) -> ir.Value | None:
    """The value that holds the codes of `value` for a DequantizeLinear that says `said`; None where none can."""
    scheme, _ = said.signed()
    if not runs(scheme):
        return None
    if value in e.held:
        holder, before = e.held[value]
        return holder if before == said else None
    tensors = [e.flat.tensors[tensor] for tensor in e.homes(value)]
    if not tensors or any(tensor.quantization not in (None, said) for tensor in tensors):
        return None
    if said.dtype in SIGNED and said.dtype != "uint8":
        return None
    for tensor in tensors:
        tensor.quantization = said
    if said.dtype == "uint8":
        where = e.layout(value)
        store_signed(e, value, said, e.read(value, where), where)
    else:
        e.schemes[value], e.held[value] = scheme, (value, said)
    return e.held[value][0]


def store_signed(e: Emitter, value: ir.Value, said: Quantization, tensor: int, where: Layout) -> None:
    """Say that the codes of `value`, unsigned in `tensor`, are also held without an offset of half of their range."""
    scheme, _ = said.signed()
    holder = _holder(value, scheme)
    e.schemes[holder], e.held[value] = scheme, (holder, said)
    Emitter.write(e, holder, e.quantize(tensor, scheme), where)
