"""By how much weights moved. A piece of each is in memory at a time; what lies at the same place of a file is not read.

With x the first model's elements and y the second's, in float64:

    largest difference   max |x - y|, and as a share of max |x|
    SQNR in dB           10·log10(Σx² / Σ(x - y)²), kept inside [-300, 300]

Weights that the second model keeps as codes behind a DequantizeLinear are compared as the numbers that it makes of
them, and the other way round.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from graphopt.diff.match import Matching
from graphopt.diff.model import WeightChange
from graphopt.inspection.quantization import type_name
from graphopt.ir.edit import constant
from graphopt.ir.evaluate import evaluate
from graphopt.ir.validate import describe

LIMIT_DB = 300.0
_PIECE = 1 << 20
"""Elements that are looked at at once."""


def weight_changes(matching: Matching, tell: Callable[[int, int], None]) -> list[WeightChange]:
    """Constants of paired nodes with another content, the most changed first.

    Args:
        matching: which node is which.
        tell: told how many pairs of nodes are done, and how many there are.
    """
    pairs, found = [*matching.equal, *matching.paired], []
    seen: set[tuple[ir.Value, ir.Value]] = set()
    for place, (a, b) in enumerate(pairs):
        tell(place, len(pairs))
        for mine, theirs in zip(a.inputs, b.inputs, strict=False):
            if mine is None or theirs is None or (mine, theirs) in seen:
                continue
            seen.add((mine, theirs))
            one, other = constant(mine), constant(theirs)
            if one is None and other is None:
                continue
            one, other = one or _dequantized(mine), other or _dequantized(theirs)
            if one is not None and other is not None and (change := _change(a, mine, theirs, one, other)):
                found.append(change)
    return sorted(found, key=lambda one: (one.sqnr_db is not None, one.sqnr_db or 0.0))


def _dequantized(value: ir.Value) -> ir.TensorProtocol | None:
    """What a DequantizeLinear of constants makes."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain or node.graph is None:
        return None
    if any(one is not None and constant(one) is None for one in node.inputs):
        return None
    made = evaluate([value], node.graph.opset_imports).arrays.get(value)
    return ir.Tensor(made) if isinstance(made, np.ndarray) else made


def _change(
    node: ir.Node, a: ir.Value, b: ir.Value, one: ir.TensorProtocol, other: ir.TensorProtocol
) -> WeightChange | None:
    name, second = a.name or "", b.name or ""
    if tuple(one.shape) != tuple(other.shape) or (one.dtype != other.dtype and not _numbers(one, other)):
        return WeightChange(describe(node), name, second, f"{_kind(one)} → {_kind(other)}")
    if one.dtype == other.dtype and _same_place(one, other):
        return None
    same = one.dtype == other.dtype
    if same and _same_bytes(one, other):
        return None
    kind = _kind(one) if same else f"{_kind(one)} → {_kind(other)}"
    if not _numbers(one, other):
        return WeightChange(describe(node), name, second, kind)
    largest = apart = signal = noise = 0.0
    alike = True
    for x, y in zip(_pieces(one), _pieces(other), strict=True):
        wide, theirs = x.astype(np.float64), y.astype(np.float64)
        alike = alike and np.array_equal(wide, theirs, equal_nan=True)
        moved = wide - theirs
        signal, noise = signal + _energy(wide), noise + _energy(moved)
        largest, apart = max(largest, _most(wide)), max(apart, _most(moved))
    if alike:
        return None  # zeros of another sign, or the same numbers in another type
    if noise == 0:
        return WeightChange(describe(node), name, second, f"{kind}, NaN or infinity in only one")
    share = apart / largest if largest else None
    return WeightChange(describe(node), name, second, kind, apart, share, _decibels(signal, noise))


def _same_bytes(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    if a.dtype == ir.DataType.STRING:
        return bool(np.array_equal(a.numpy(), b.numpy()))
    pairs = zip(_pieces(a), _pieces(b), strict=True)
    return all(np.array_equal(x.view(np.uint8), y.view(np.uint8)) for x, y in pairs)


def _numbers(*tensors: ir.TensorProtocol) -> bool:
    """Whether a difference of their elements means something: codes are no numbers beside what they stand for."""
    return all(t.dtype.is_floating_point() for t in tensors) or all(t.dtype.is_integer() for t in tensors)


def _same_place(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    if not isinstance(a, ir.ExternalTensor) or not isinstance(b, ir.ExternalTensor):
        return a is b
    return a.offset == b.offset and os.path.samefile(a.path, b.path)


def _pieces(tensor: ir.TensorProtocol) -> Iterator[np.ndarray]:
    if isinstance(tensor, ir.ExternalTensor) and tensor.dtype.bitwidth >= 8:
        dtype, start = tensor.dtype.numpy(), tensor.offset or 0
        for first in range(0, max(tensor.size, 1), _PIECE):
            count = min(_PIECE, tensor.size - first) * dtype.itemsize
            # Straight from the file: the pages of a memory map would stay resident.
            yield np.fromfile(tensor.path, np.uint8, count, offset=start + first * dtype.itemsize).view(dtype)
        return
    flat = tensor.numpy().reshape(-1)
    for first in range(0, max(flat.size, 1), _PIECE):
        yield flat[first : first + _PIECE]


def _energy(array: np.ndarray) -> float:
    energy = float(np.dot(array, array))
    if not math.isfinite(energy):
        finite = array[np.isfinite(array)]
        energy = min(float(np.dot(finite, finite)), sys.float_info.max)
    return energy


def _most(array: np.ndarray) -> float:
    most = max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
    return most if math.isfinite(most) else float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def _decibels(signal: float, noise: float) -> float:
    if signal == 0:
        return -LIMIT_DB
    return max(-LIMIT_DB, min(LIMIT_DB, 10 * (math.log10(signal) - math.log10(noise))))


def _kind(tensor: ir.TensorProtocol) -> str:
    return f"{type_name(tensor.dtype)}[{','.join(map(str, tensor.shape.numpy()))}]"
