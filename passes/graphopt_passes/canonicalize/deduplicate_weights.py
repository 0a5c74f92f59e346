"""Keep one of several weights that are the same, bit by bit.

    w1 = [1, 2] ─▶ Conv          w1 = [1, 2] ─▶ Conv
    w2 = [1, 2] ─▶ MatMul   becomes         └─▶ MatMul        (-0 is not 0, and a NaN is the NaN with the same bits)

An initializer that the caller may override is left alone, and so is one that is an output. Weights of the same type and
shape are told apart by a few bytes of each; only where those agree is all of it read, in pieces. Fidelity: exact.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable

import onnx_ir as ir

from graphopt.ir.edit import is_read
from graphopt.ir.external import blocks
from graphopt.pipeline import Context, Pass, PassResult

_WINDOWS = 8
"""Places of a tensor that are looked at before all of it is read."""
_WINDOW = 32
"""Bytes that are looked at in each place."""


class DeduplicateWeights(Pass):
    """Keep one of several weights that are the same, bit by bit."""

    name = "deduplicate-weights"
    fidelity = "exact"

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Compare the weights of the main graph with each other, and those of bodies with them."""
        merged, saved = deduplicate(model)
        return PassResult(merged, f"{merged} weights, {saved:,} bytes" if merged else "")


def deduplicate(model: ir.Model) -> tuple[int, int]:
    """Let readers of equal weights read one of them; returns how many weights went, and their bytes."""
    groups: dict[Hashable, list[ir.Value]] = {}
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and not value.is_graph_input() and tensor.dtype != ir.DataType.STRING:
                groups.setdefault((tensor.dtype, tuple(tensor.shape)), []).append(value)
    count = saved = 0
    for alike in _split(groups.values(), _sample):
        for same in _split([alike], _digest):
            for value, keeper in _merges(same, model.graph):
                saved += _drop(value, keeper)
                count += 1
    return count, saved


def _drop(value: ir.Value, keeper: ir.Value) -> int:
    """Let everything that reads a weight read another; returns the bytes of the one that went."""
    tensor, graph, name = value.const_value, value.graph, value.name
    assert tensor is not None
    assert graph is not None
    assert name is not None
    value.replace_all_uses_with(keeper)
    del graph.initializers[name]
    return tensor.nbytes


def _split(groups: Iterable[list[ir.Value]], key: Callable[[ir.TensorProtocol], Hashable]) -> Iterable[list[ir.Value]]:
    """Split groups by a key of their tensors; only what still has company comes back."""
    for group in groups:
        if len(group) < 2:
            continue
        parts: dict[Hashable, list[ir.Value]] = {}
        for value in group:
            assert value.const_value is not None
            parts.setdefault(key(value.const_value), []).append(value)
        yield from (part for part in parts.values() if len(part) > 1)


def _merges(same: list[ir.Value], main: ir.Graph) -> Iterable[tuple[ir.Value, ir.Value]]:
    """Who goes and who stays: the first of the main graph, seen from everywhere, else the first of the same graph."""
    keepers: dict[ir.Graph | None, ir.Value] = {}
    for value in sorted(same, key=lambda value: not value.is_graph_output()):
        keeper = keepers.get(main) or keepers.get(value.graph)
        if keeper is None:
            keepers[value.graph] = value
        elif not value.is_graph_output() and is_read(value):
            yield value, keeper


def _sample(tensor: ir.TensorProtocol) -> bytes:
    """A few bytes from all over a tensor."""
    step = max(_WINDOW, tensor.nbytes // _WINDOWS)
    places = range(0, tensor.nbytes, step)
    if isinstance(tensor, ir.ExternalTensor):
        with open(tensor.path, "rb", buffering=0) as source:
            start = tensor.offset or 0
            return b"".join(os.pread(source.fileno(), _WINDOW, start + place) for place in places)
    data = tensor.tobytes()
    return b"".join(data[place : place + _WINDOW] for place in places)


def _digest(tensor: ir.TensorProtocol) -> bytes:
    known = hashlib.blake2b(digest_size=20)
    for block in blocks(tensor):
        known.update(block)
    return known.digest()
