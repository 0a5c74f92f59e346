"""What a .tflite file holds: graphs of tensors and operators, as the emitter builds them; `pack` makes the bytes.

This file knows the format and nothing of ONNX: the emitter above it decides what to build.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from graphopt_backends.tflite import builtins
from graphopt_backends.tflite.scheme import Quantization

SIGNATURE = "serving_default"

TYPES: Mapping[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "float64": schema.TensorType.FLOAT64,
    "int4": schema.TensorType.INT4,
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
    """A tensor of a graph.

    Attributes:
        shape: in stored order.
        dtype: numpy's name of the element type.
        name: free text.
        data: the elements of a constant.
        quantization: what the elements stand for, its axis counted in stored order; None where they are what they are.
        variable: whether it keeps its elements from one run to the next.
        open: stored axes whose length the user may change.
    """

    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    data: np.ndarray | None = None
    quantization: Quantization | None = None
    variable: bool = False
    open: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Operator:
    """An operator of a graph.

    Attributes:
        builtin: name in the schema.
        version: the lowest that promises what is used of it.
        inputs, outputs: tensors of the graph, -1 for an operand that is left out.
        options: its options table.
        origin: the ONNX node that it was made for.
        graphs: the graphs that it runs, by the field of the options table that holds their index.
    """

    builtin: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None
    origin: str = ""
    graphs: Mapping[str, Graph] = field(default_factory=dict)


@dataclass(eq=False)
class Graph:
    """A graph of the file, growing while nodes are lowered.

    Attributes:
        name: free text.
        tensors: all tensors, by index.
        operators: all operators in the order of execution.
        producers: the operator that makes a tensor.
        inputs, outputs: tensors that go in and come out, in order.
    """

    name: str = "main"
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    producers: dict[int, Operator] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        *,
        name: str = "",
        data: np.ndarray | None = None,
        quantization: Quantization | None = None,
        variable: bool = False,
    ) -> int:
        """Add a tensor and return its index."""
        sizes = tuple(int(dim) for dim in shape)
        self.tensors.append(Tensor(sizes, dtype, name, data, quantization, variable))
        return len(self.tensors) - 1

    def operator(self, operator: Operator) -> None:
        """Add an operator after all others."""
        self.operators.append(operator)
        for output in operator.outputs:
            self.producers[output] = operator

    def prune(self) -> None:
        """Remove operators that no output needs; tensors that nobody uses are left out of the file."""
        needed, kept = set(self.outputs), []
        for operator in reversed(self.operators):
            if needed.intersection(operator.outputs):
                kept.append(operator)
                needed.update(operator.inputs)
        self.operators = kept[::-1]

    def used(self) -> list[int]:
        """The tensors that go in, come out or are read or written by an operator, ascending."""
        ends = {*self.inputs, *self.outputs}
        return sorted(ends.union(*(operator.inputs + operator.outputs for operator in self.operators)) - {-1})


def reachable(main: Graph) -> list[Graph]:
    """`main` and the graphs that its operators run, and theirs, each once."""
    found = [main]
    for graph in found:
        for operator in graph.operators:
            found += [inner for inner in operator.graphs.values() if inner not in found]
    return found


def operators(graphs: Iterable[Graph]) -> Iterator[Operator]:
    """All operators of `graphs`."""
    for graph in graphs:
        yield from graph.operators


def minimum_runtime(main: Graph) -> str:
    """The oldest TFLite release that knows all operators of a file."""
    return builtins.minimum_runtime({(one.builtin, one.version) for one in operators(reachable(main))})


def options(table: str, **fields: Any) -> Any:
    """The options table `table` of the schema with `fields` set, as `options("Conv2DOptions", strideH=2)`."""
    made = getattr(schema, f"{table}T")()
    for name, value in fields.items():
        if not hasattr(made, name):
            raise AttributeError(f"{table} has no field {name}")
        setattr(made, name, value)
    return made
