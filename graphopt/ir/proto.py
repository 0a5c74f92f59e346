"""What has to be looked at before a ModelProto becomes a model: what onnx_ir would pass over without a word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from graphopt.errors import ModelError
from graphopt.ir.conform import refuse_unlike
from graphopt.ir.extent import refuse_deep, refuse_unbounded

if TYPE_CHECKING:
    import onnx

DEFAULT_DOMAINS = ("", "ai.onnx")
"""Two names of the same operator set."""


_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every body inside it and inside functions."""
    return (graph for graph, _ in _nested(proto))


def _nested(proto: onnx.ModelProto) -> Iterator[tuple[onnx.GraphProto, int]]:
    """All graphs with the number of graphs around each."""
    waiting = [(proto.graph, 0)]
    nodes: Iterable[onnx.NodeProto] = [node for function in proto.functions for node in function.node]
    depth = 0
    while True:
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append((attribute.g, depth + 1))
                waiting.extend((graph, depth + 1) for graph in attribute.graphs)
        if not waiting:
            return
        graph, depth = waiting.pop()
        yield graph, depth
        nodes = graph.node


def refuse_ambiguous(proto: onnx.ModelProto, file: Path | None) -> None:
    """Refuse what two readers would read as two models, or what has no dense weights.

    Raises:
        ModelError: an initializer is sparse or there twice, or its data do not fit its shape; an operator set is
            imported in two versions; a name is not UTF-8; bodies are nested too deep; functions have no end.
    """
    opsets = {"" if e.domain in DEFAULT_DOMAINS else e.domain: e.version for e in proto.opset_import}
    for imports in (proto.opset_import, *(function.opset_import for function in proto.functions)):
        versions: dict[str, int] = {}
        for entry in imports:
            domain = "" if entry.domain in DEFAULT_DOMAINS else entry.domain
            if not 0 <= entry.version < 1 << 31:
                raise ModelError(f"imports opset {domain or 'ai.onnx'!r} in version {entry.version}", file=file)
            if versions.setdefault(domain, entry.version) != entry.version:
                name = domain or "ai.onnx"
                raise ModelError(
                    f"imports opset {name!r} in versions {versions[domain]} and {entry.version}", file=file
                )
    refuse_unbounded(proto, file)
    for graph, depth in _nested(proto):
        refuse_deep(depth, file)
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise ModelError(f"the initializer {name!r} is sparse: store it dense", file=file)
        seen: set[str] = set()
        for tensor in graph.initializer:
            if tensor.name in seen:
                raise ModelError(f"the initializer {tensor.name!r} is there twice", file=file)
            seen.add(tensor.name)
            _fits(tensor, f"the initializer {tensor.name!r}", file)
        _texts((v.name for v in (*graph.input, *graph.output, *graph.initializer)), file)
        for node in graph.node:
            _texts((node.op_type, node.domain, node.name, *node.input, *node.output), file)
            for attribute in node.attribute:
                held = attribute.type == attribute.TENSOR and not attribute.ref_attr_name
                if held or attribute.HasField("t"):
                    _fits(attribute.t, f"the tensor {attribute.name!r} of node {node.name!r}", file)
        refuse_unlike(graph.node, opsets, file)


def _texts(texts: Iterable[str | bytes], file: Path | None) -> None:
    # Protobuf hands out a string that is not UTF-8 as bytes.
    for text in texts:
        if isinstance(text, bytes):
            raise ModelError(f"the name {text!r} is not UTF-8", file=file)


def _fits(tensor: onnx.TensorProto, name: str, file: Path | None) -> None:
    import onnx

    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{name} has the shape {list(tensor.dims)}", file=file)
    if tensor.HasField("segment"):
        raise ModelError(f"{name} is stored in segments: store it whole", file=file)
    try:
        dtype = ir.DataType(tensor.data_type)
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
    except (KeyError, ValueError):
        raise ModelError(f"{name} has the unknown type {tensor.data_type}", file=file) from None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return
    if any(getattr(tensor, other) for other in _DATA if other != field):
        raise ModelError(f"{name} holds data of another type than its own", file=file)
    count = math.prod(tensor.dims)
    if dtype == ir.DataType.STRING:
        held, needed, what = len(tensor.string_data), count, "elements"
    elif tensor.HasField("raw_data"):
        held, needed, what = len(tensor.raw_data), -(-count * dtype.bitwidth // 8), "bytes"
    else:
        # Types below a byte are packed; complex numbers are pairs.
        packed, pairs = dtype.bitwidth < 8, dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128)
        held, what = len(getattr(tensor, field)), "elements"
        needed = -(-count * dtype.bitwidth // 8) if packed else count * (2 if pairs else 1)
    if held != needed:
        raise ModelError(f"{name} holds {held} {what}, its shape {list(tensor.dims)} needs {needed}", file=file)
