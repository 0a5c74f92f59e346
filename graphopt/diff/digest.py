"""A digest of what every value is computed from, so that equal computations are found whatever they are called.

    value of an input       its name
    constant                type, shape, and its content, of a large one the two ends
    output of a node        operator, attributes, digests of its inputs, which output it is

Two values with the same digest are the same function of the inputs, but for the middle of large weights; those are
compared when their nodes are paired. Linear in the graph; no large weight is read whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant, owners
from graphopt.ir.external import blocks

_WHOLE = 4096
"""Bytes up to which a constant's content counts wholly, and how much of each end does of a larger one."""


def digests(model: ir.Model) -> dict[ir.Node, bytes]:
    """The digest of every node that computes something, in topological order; bodies and functions with them."""
    found: dict[ir.Node, bytes] = {}
    for owner in owners(model):
        values: dict[ir.Value, bytes] = {}
        _graph(owner, values, found, "input")
    return found


def _graph(graph: ir.Graph, values: dict[ir.Value, bytes], found: dict[ir.Node, bytes], kind: str) -> bytes:
    for place, value in enumerate(graph.inputs):
        # Inside a body names are nobody's promise; the place is.
        values[value] = _join(kind, value.name if kind == "input" else str(place))
    for node in graph:
        if constant(node.outputs[0] if node.outputs else None) is not None:
            continue
        parts = [node.domain, node.op_type, node.overload]
        parts += [f"{name}={text}" for name, text in sorted(attributes(node).items())]
        parts += [_of(value, values).hex() for value in node.inputs]
        parts += [_graph(body, values, found, "body").hex() for body in bodies(node)]
        found[node] = digest = _join(*parts)
        for place, value in enumerate(node.outputs):
            values[value] = _join(digest.hex(), str(place))
    return _join(*(_of(value, values).hex() for value in graph.outputs))


def attributes(node: ir.Node) -> dict[str, str]:
    """The attributes of a node as text, bodies left out; tensors by type, shape and content."""
    told: dict[str, str] = {}
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            told[name] = f"@{attribute.ref_attr_name}"
        elif attribute.type == ir.AttributeType.TENSOR:
            told[name] = tensor_digest(attribute.value).hex()
        elif attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            told[name] = str(list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value)
    return told


def _of(value: ir.Value | None, values: dict[ir.Value, bytes]) -> bytes:
    if value is None:
        return b""
    if value not in values:
        tensor = constant(value)
        values[value] = tensor_digest(tensor) if tensor is not None else _join("unknown", value.name or "")
    return values[value]


def tensor_digest(tensor: ir.TensorProtocol) -> bytes:
    """Type, shape, and the content, of a large tensor its two ends."""
    head = f"{tensor.dtype.name}{tensor.shape}"
    return _join(head, *(block.hex() for block in _ends(tensor)))


def _ends(tensor: ir.TensorProtocol) -> Iterator[bytes]:
    if isinstance(tensor, ir.ExternalTensor):
        # A few blocks straight from the file: a memory map would keep its pages.
        with open(tensor.path, "rb", buffering=0) as source:
            start, size = tensor.offset or 0, tensor.nbytes
            yield os.pread(source.fileno(), min(size, _WHOLE), start)
            if size > _WHOLE:
                yield os.pread(source.fileno(), _WHOLE, start + size - _WHOLE)
        return
    data = b"".join(blocks(tensor))
    yield data[:_WHOLE]
    if len(data) > _WHOLE:
        yield data[-_WHOLE:]


def _join(*parts: str | None) -> bytes:
    state = blake2b(digest_size=12)
    for part in parts:
        state.update((part or "").encode(errors="surrogateescape") + b"\0")
    return state.digest()
