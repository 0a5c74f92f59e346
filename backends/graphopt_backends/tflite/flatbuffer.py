"""Build a .tflite flatbuffer out of tensors and operators, with the schema that ai-edge-litert ships.

This file knows the format and nothing of ONNX: the emitter above it decides what to build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from graphopt_backends.tflite import builtins

FILE_IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
_ALIGNMENT = 16  # the schema's force_align of Buffer.data, which kernels rely on and flatbuffers' Python code ignores

TYPES: Mapping[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "float64": schema.TensorType.FLOAT64,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
    "uint16": schema.TensorType.UINT16,
    "uint32": schema.TensorType.UINT32,
    "bool": schema.TensorType.BOOL,
}


@dataclass
class Tensor:
    """A tensor of the subgraph: `shape` in stored order, `data` for a constant."""

    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Operator:
    """An operator of the subgraph; `origin` is the ONNX node that it was made for."""

    builtin: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None
    origin: str = ""


@dataclass
class FlatModel:
    """The one subgraph of a .tflite file, growing while nodes are lowered.

    Attributes:
        tensors: all tensors, by index.
        operators: all operators in the order of execution.
    """

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    producers: dict[int, Operator] = field(default_factory=dict)

    def tensor(self, shape: Sequence[int], dtype: str, *, name: str = "", data: np.ndarray | None = None) -> int:
        """Add a tensor and return its index."""
        self.tensors.append(Tensor(tuple(int(dim) for dim in shape), dtype, name, data))
        return len(self.tensors) - 1

    def operator(self, operator: Operator) -> None:
        """Add an operator after all others."""
        self.operators.append(operator)
        for output in operator.outputs:
            self.producers[output] = operator

    def prune(self, outputs: Sequence[int]) -> None:
        """Remove operators that no output needs; tensors that nobody uses are left out of the file."""
        needed, kept = set(outputs), []
        for operator in reversed(self.operators):
            if needed.intersection(operator.outputs):
                kept.append(operator)
                needed.update(operator.inputs)
        self.operators = kept[::-1]

    def minimum_runtime(self) -> str:
        """The oldest TFLite release that knows all operators."""
        return builtins.minimum_runtime({(o.builtin, o.version) for o in self.operators})

    def serialize(self, inputs: Mapping[str, int], outputs: Mapping[str, int], description: str) -> bytes:
        """The bytes of the file.

        Args:
            inputs: tensor of each input by its name in the signature.
            outputs: tensor of each output by its name in the signature.
            description: free text, for people.
        """
        used = sorted(
            {*inputs.values(), *outputs.values()}.union(*(o.inputs + o.outputs for o in self.operators)) - {-1}
        )
        index = {old: new for new, old in enumerate(used)} | {-1: -1}
        model, buffers = schema.ModelT(), _Buffers()
        codes = sorted({(o.builtin, o.version) for o in self.operators})
        graph = schema.SubGraphT()
        graph.name = b"main"
        graph.tensors = [_pack_tensor(self.tensors[old], buffers) for old in used]
        graph.operators = [_pack_operator(o, codes.index((o.builtin, o.version)), index) for o in self.operators]
        graph.inputs = [index[i] for i in inputs.values()]
        graph.outputs = [index[i] for i in outputs.values()]
        model.version, model.description, model.subgraphs = 3, description.encode(), [graph]
        model.operatorCodes = [_pack_code(*code) for code in codes]
        model.metadata = [_metadata("min_runtime_version", builtins.minimum_runtime(codes), buffers)]
        model.signatureDefs = [_signature(inputs, outputs, index)]
        model.buffers = buffers.tables
        # An object of sufficient size from the start: flatbuffers otherwise doubles and copies while it grows.
        builder = flatbuffers.Builder(buffers.bytes + 512 * (len(used) + len(self.operators)) + 4096)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())


class _Buffer(schema.BufferT):  # type: ignore[misc]
    def __init__(self, content: memoryview | bytes) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: flatbuffers.Builder) -> int:
        size = len(self.content)
        if size:
            builder.StartVector(1, size, _ALIGNMENT)
            builder.head -= size
            builder.Bytes[builder.head : builder.head + size] = self.content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if size:
            schema.BufferAddData(builder, vector)
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


def options(table: str, **fields: Any) -> Any:
    """The options table `table` of the schema with `fields` set, as `options("Conv2DOptions", strideH=2)`."""
    made = getattr(schema, f"{table}T")()
    for name, value in fields.items():
        if not hasattr(made, name):
            raise AttributeError(f"{table} has no field {name}")
        setattr(made, name, value)
    return made


def _pack_tensor(tensor: Tensor, buffers: _Buffers) -> Any:
    table = schema.TensorT()
    table.name, table.shape, table.hasRank = tensor.name.encode(), list(tensor.shape), True
    table.type, table.buffer = TYPES[tensor.dtype], 0
    if tensor.data is not None and tensor.data.size:
        table.buffer = buffers.add(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data)
    return table


def _pack_code(builtin: str, version: int) -> Any:
    table, code = schema.OperatorCodeT(), getattr(schema.BuiltinOperator, builtin)
    table.builtinCode, table.version = code, version
    # Codes above 127 do not fit the field that runtimes before 2.4 read; 127 tells them so.
    table.deprecatedBuiltinCode = min(code, 127)
    return table


def _pack_operator(operator: Operator, code: int, index: Mapping[int, int]) -> Any:
    table = schema.OperatorT()
    table.opcodeIndex = code
    table.inputs, table.outputs = [index[i] for i in operator.inputs], [index[o] for o in operator.outputs]
    if operator.options is not None:
        table.builtinOptions = operator.options
        table.builtinOptionsType = getattr(schema.BuiltinOptions, type(operator.options).__name__.removesuffix("T"))
    return table


def _metadata(name: str, value: str, buffers: _Buffers) -> Any:
    table = schema.MetadataT()
    table.name, table.buffer = name.encode(), buffers.add(value.encode().ljust(16, b"\0"))
    return table


def _signature(inputs: Mapping[str, int], outputs: Mapping[str, int], index: Mapping[int, int]) -> Any:
    table = schema.SignatureDefT()
    table.signatureKey, table.subgraphIndex = SIGNATURE.encode(), 0
    table.inputs, table.outputs = ([_entry(n, index[t]) for n, t in side.items()] for side in (inputs, outputs))
    return table


def _entry(name: str, tensor: int) -> Any:
    table = schema.TensorMapT()
    table.name, table.tensorIndex = name.encode(), tensor
    return table
