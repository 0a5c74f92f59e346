"""The bytes of a .tflite file, with the schema that ai-edge-litert ships.

A flatbuffer's own offsets end at 2 GiB. A larger model keeps its constants behind the flatbuffer: each buffer then
says at which byte of the file it starts, and how long it is (the schema's Buffer.offset and Buffer.size).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from graphopt_backends.tflite.flatbuffer import SIGNATURE, TYPES, Graph, Operator, Tensor, minimum_runtime, reachable
from graphopt_backends.tflite.flatbuffer import operators as all_operators
from graphopt_backends.tflite.scheme import Quantization

FILE_IDENTIFIER = b"TFL3"
LARGEST_FLATBUFFER = (1 << 31) - (1 << 26)
"""Bytes of constants from which on they go behind the flatbuffer; tables need room below the format's 2 GiB, too."""
_ALIGNMENT = 16  # the schema's force_align of Buffer.data, which kernels rely on and flatbuffers' Python code ignores


@dataclass(frozen=True)
class Packed:
    """A file: the flatbuffer, and what follows it in a large one."""

    head: bytes
    tail: Sequence[memoryview | bytes] = ()


def pack(main: Graph, inputs: Sequence[str], outputs: Sequence[str], description: str) -> Packed:
    """The file whose first graph is `main`.

    Args:
        main: the graph that runs; `inputs` and `outputs` say what it takes and gives.
        inputs: names of the graph's inputs in the signature.
        outputs: names of the graph's outputs in the signature.
        description: free text, for people.
    """
    graphs, buffers = reachable(main), _Buffers()
    codes = sorted({(one.builtin, one.version) for one in all_operators(graphs)})
    model = schema.ModelT()
    model.version, model.description = 3, description.encode()
    model.subgraphs = [_graph(one, codes, graphs, buffers) for one in graphs]
    model.operatorCodes = [_code(*code) for code in codes]
    model.metadata = [_metadata("min_runtime_version", minimum_runtime(main), buffers)]
    index = {old: new for new, old in enumerate(main.used())}
    model.signatureDefs = [
        _signature(
            [_entry(name, index[tensor]) for name, tensor in zip(inputs, main.inputs, strict=True)],
            [_entry(name, index[tensor]) for name, tensor in zip(outputs, main.outputs, strict=True)],
        )
    ]
    model.buffers = buffers.tables
    room = 512 * sum(len(graph.tensors) + len(graph.operators) for graph in graphs) + 4096
    if buffers.bytes <= LARGEST_FLATBUFFER:
        return Packed(_finish(model, buffers.bytes + room))
    # Offsets take the same room whatever they are, so the first attempt tells where the constants begin.
    buffers.place(1 << 32)
    tail = buffers.place(len(_finish(model, room)))
    return Packed(_finish(model, room), tail)


def _finish(model: Any, room: int) -> bytes:
    # An object of sufficient size from the start: flatbuffers otherwise doubles and copies while it grows.
    builder = flatbuffers.Builder(room)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


class _Buffer(schema.BufferT):  # type: ignore[misc]
    def __init__(self, content: memoryview | bytes) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: flatbuffers.Builder) -> int:
        size, inside = len(self.content), not self.offset
        if size and inside:
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self.content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if size and inside:
            schema.BufferAddData(builder, vector)
        elif size:
            schema.BufferAddOffset(builder, self.offset)
            schema.BufferAddSize(builder, size)
        end: int = schema.BufferEnd(builder)
        return end


class _Buffers:
    """The file's buffers, one for each distinct content; buffer 0 is empty, as the format demands."""

    def __init__(self) -> None:
        self.tables, self.bytes, self._known = [_Buffer(b"")], 0, {b"": 0}

    def add(self, content: memoryview | bytes) -> int:
        key = hashlib.blake2b(content, digest_size=20).digest()
        if key not in self._known:
            self._known[key] = len(self.tables)
            self.tables.append(_Buffer(content))
            self.bytes += len(content) + 64
        return self._known[key]

    def place(self, start: int) -> list[memoryview | bytes]:
        """Put all contents behind `start`, each at a multiple of the alignment; what to write there."""
        pieces: list[memoryview | bytes] = []
        for table in self.tables[1:]:
            gap = -start % _ALIGNMENT
            table.offset = start + gap
            pieces += [bytes(gap), table.content]
            start = table.offset + len(table.content)
        return pieces


def _graph(graph: Graph, codes: list[tuple[str, int]], graphs: Sequence[Graph], buffers: _Buffers) -> Any:
    used, table = graph.used(), schema.SubGraphT()
    index = {old: new for new, old in enumerate(used)} | {-1: -1}
    table.name = graph.name.encode()
    table.tensors = [_tensor(graph.tensors[old], buffers) for old in used]
    table.operators = [
        _operator(one, codes.index((one.builtin, one.version)), index, graphs) for one in graph.operators
    ]
    table.inputs, table.outputs = [index[i] for i in graph.inputs], [index[i] for i in graph.outputs]
    return table


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:
    table = schema.TensorT()
    table.name, table.shape, table.hasRank = tensor.name.encode(), list(tensor.shape), True
    table.type, table.buffer, table.isVariable = TYPES[tensor.dtype], 0, tensor.variable
    if tensor.open:
        table.shapeSignature = [-1 if axis in tensor.open else dim for axis, dim in enumerate(tensor.shape)]
    if tensor.quantization is not None:
        table.quantization = _quantization(tensor.quantization)
    if tensor.data is not None and tensor.data.size:
        table.buffer = buffers.add(_content(tensor.data, tensor.dtype))
    return table


def _content(data: np.ndarray, dtype: str) -> memoryview | bytes:
    flat = np.ascontiguousarray(data).reshape(-1)
    if dtype != "int4":
        return flat.view(np.uint8).data
    # Two codes a byte, the first one in the low half.
    nibbles = np.append(flat.astype(np.int8), np.zeros(flat.size % 2, np.int8)).view(np.uint8) & 15
    return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).data


def _quantization(scheme: Quantization) -> Any:
    table = schema.QuantizationParametersT()
    table.scale, table.zeroPoint = np.asarray(scheme.scale, np.float32), np.asarray(scheme.zero, np.int64)
    table.quantizedDimension = scheme.axis or 0
    return table


def _code(builtin: str, version: int) -> Any:
    table, code = schema.OperatorCodeT(), getattr(schema.BuiltinOperator, builtin)
    table.builtinCode, table.version = code, version
    # Codes above 127 do not fit the field that runtimes before 2.4 read; 127 tells them so.
    table.deprecatedBuiltinCode = min(code, 127)
    return table


def _operator(operator: Operator, code: int, index: Mapping[int, int], graphs: Sequence[Graph]) -> Any:
    table = schema.OperatorT()
    table.opcodeIndex = code
    table.inputs, table.outputs = [index[i] for i in operator.inputs], [index[o] for o in operator.outputs]
    if operator.options is not None:
        for name, graph in operator.graphs.items():
            setattr(operator.options, name, graphs.index(graph))
        table.builtinOptions = operator.options
        table.builtinOptionsType = getattr(schema.BuiltinOptions, type(operator.options).__name__.removesuffix("T"))
    return table


def _metadata(name: str, value: str, buffers: _Buffers) -> Any:
    table = schema.MetadataT()
    table.name, table.buffer = name.encode(), buffers.add(value.encode().ljust(16, b"\0"))
    return table


def _signature(inputs: list[Any], outputs: list[Any]) -> Any:
    table = schema.SignatureDefT()
    table.signatureKey, table.subgraphIndex = SIGNATURE.encode(), 0
    table.inputs, table.outputs = inputs, outputs
    return table


def _entry(name: str, tensor: int) -> Any:
    table = schema.TensorMapT()
    table.name, table.tensorIndex = name.encode(), tensor
    return table
