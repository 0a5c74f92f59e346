"""Unpack com.microsoft's MatMulNBits and GatherBlockQuantized, for backends that lack them.

    a ─ MatMulNBits(B, scales, zero points) ─ y           becomes      a ─ MatMul(W) ─ y
    i ─ GatherBlockQuantized(data, scales, zero) ─ y      becomes      i ─ Gather(W) ─ y

where W = (number - zero point) · scale, block by block of one axis, of numbers of 2, 4 or 8 bits that are packed low
bits first. Without zero points, they are in the middle of the range. The weights take 32 / bits times the space, 16 in
a model of float16. Fidelity: rounding.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant
from graphopt.ir.schema import attribute
from graphopt.legalize import Substitution
from graphopt.rewrite import rule
from graphopt_passes.legalize.quantized import aligned, lazy

_CONTRIB = "com.microsoft"
_BITS = (2, 4, 8)


def _unpacked(array: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of 2, 4 or 8 bits out of the bytes of the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = (array[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return numbers.reshape(*array.shape[:-1], -1)


@rule("unpack-matmul", fidelity="rounding")
def matmul(p):
    inputs = (p.optional(p.zeros), p.optional(p.order), p.optional(p.bias))
    return p.MatMulNBits(p.a, p.b, p.scales, *inputs, as_="packed", domain=_CONTRIB)


@matmul.require("its weights are constants of 2, 4 or 8 bits, not packed for another device")
def _(m):
    tensors = [constant(one) for one in (m.b, m.scales)] + ([constant(m.zeros)] if m.zeros is not None else [])
    held = attribute(m.packed, "weight_prepacked")
    return None not in tensors and (attribute(m.packed, "bits") or 4) in _BITS and not held


@matmul.require("its weights are in order")
def _(m):
    return m.order is None or "it has g_idx, which is deprecated: write the weights in order"


@matmul.replace
def _(op, m):
    inner, outer, block = (attribute(m.packed, name) for name in ("K", "N", "block_size"))
    tensors = [None if one is None else constant(one) for one in (m.b, m.scales, m.zeros)]
    bits = attribute(m.packed, "bits") or 4
    weights = lazy([inner, outer], lambda: _matrix(*tensors, bits, inner, outer, block), m.a.dtype)
    product = op.MatMul(m.a, op.constant(weights))
    return product if m.bias is None else op.Add(product, m.bias)


def _matrix(numbers, scales, zeros, bits: int, inner: int, outer: int, block: int) -> np.ndarray:
    blocks = -(-inner // block)
    whole = _unpacked(numbers.numpy().reshape(outer, blocks, -1), bits).astype(np.float32)
    middle = np.full((outer, blocks), 1 << (bits - 1), np.float32)
    if zeros is not None:
        given = zeros.numpy()
        if zeros.dtype == ir.DataType.UINT8:
            given = _unpacked(given.reshape(outer, -1), bits)[:, :blocks]
        middle = given.astype(np.float32).reshape(outer, blocks)
    factors = scales.numpy().astype(np.float32).reshape(outer, blocks)
    return ((whole - middle[..., None]) * factors[..., None]).reshape(outer, -1)[:, :inner].T


@rule("unpack-gather", fidelity="rounding")
def gather(p):
    return p.GatherBlockQuantized(
        p.data, p.indices, p.scales, p.optional(p.zeros), as_="packed", domain=_CONTRIB
    )  # fmt: skip


@gather.require("its weights are constants of integers")
def _(m):
    tensors = [constant(one) for one in (m.data, m.scales)] + ([constant(m.zeros)] if m.zeros is not None else [])
    return None not in tensors and m.data.dtype in (ir.DataType.UINT8, ir.DataType.UINT4, ir.DataType.INT4)


@gather.replace
def _(op, m):
    data, scales, zeros = (None if one is None else constant(one) for one in (m.data, m.scales, m.zeros))
    bits = (attribute(m.packed, "bits") or 4) if m.data.dtype == ir.DataType.UINT8 else 0
    axis, block = (attribute(m.packed, name) for name in ("quantize_axis", "block_size"))
    axis, block = 1 if axis is None else axis, block or 128
    shape = list(data.shape.numpy())
    shape[-1] *= 8 // bits if bits else 1
    table = lazy(shape, lambda: _table(data, scales, zeros, bits, shape, axis, block), m.scales.dtype)
    return op.Gather(op.constant(table), m.indices, axis=attribute(m.packed, "gather_axis") or 0)


def _table(data, scales, zeros, bits: int, shape: list[int], axis: int, block: int) -> np.ndarray:
    """The numbers of a table; bits is 0 where they are not packed."""
    whole = _unpacked(data.numpy(), bits) if bits else data.numpy()
    offset = np.float32(1 << (bits - 1) if bits else 0)
    factors = scales.numpy().astype(np.float32)
    if zeros is not None:
        given = _unpacked(zeros.numpy(), bits)[..., : factors.shape[-1]] if bits else zeros.numpy()
        offset = aligned(given.astype(np.float32), shape, axis, block)
    return (whole.astype(np.float32) - offset) * aligned(factors, shape, axis, block)


def _bytes(g, *shape):
    return g.constant(np.array([g.integer(0, 255) for _ in range(int(np.prod(shape)))], np.uint8).reshape(shape))


@matmul.example
def _(g):
    rows, outer, blocks, block = g.integer(1, 3), g.integer(1, 3), g.integer(1, 3), 16
    bits = 4  # onnxruntime's kernel computes with 2 and 8 bits in lower accuracy
    inner = blocks * block - g.pick([0, 2])
    zeros = [_bytes(g, outer, -(-blocks * bits // 8))] if g.flag() else []
    bias = [*zeros, *[None] * (2 - len(zeros)), g.constant(g.normal(outer))] if g.flag() else zeros
    a = g.input([rows, inner], static=True, finite=True)
    weights = _bytes(g, outer, blocks, block * bits // 8), g.constant(g.positive(outer, blocks))
    options = {"K": inner, "N": outer, "block_size": block, "bits": bits}
    g.output(g.MatMulNBits(a, *weights, *bias, domain=_CONTRIB, **options), 2)


@gather.example
def _(g):
    rows, blocks, block, bits = g.integer(2, 4), g.integer(1, 3), 16, g.pick([4, 8])
    zeros = [_bytes(g, rows, -(-blocks * bits // 8))] if g.flag() else []
    table = _bytes(g, rows, blocks * block * bits // 8)
    scales = g.constant(g.positive(rows, blocks))
    where = g.constant(np.array([g.integer(0, rows - 1) for _ in range(3)], np.int64))
    x = g.Gather(where, g.constant(np.array([0, 2], np.int64)))
    made = g.GatherBlockQuantized(
        table, x, scales, *zeros, domain=_CONTRIB, block_size=block, bits=bits, quantize_axis=1
    )
    g.output(made, 2)


class DecomposePackedWeights(Substitution):
    """Unpack the weights of MatMulNBits and GatherBlockQuantized."""

    name = "decompose-packed-weights"
    rules = (matmul, gather)
