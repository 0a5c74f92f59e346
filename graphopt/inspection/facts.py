"""The facts of a model file, gathered in one walk over its nodes at one choice of sizes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from graphopt.inspection.memory import activation_peak
from graphopt.inspection.quantization import quantization, type_name
from graphopt.ir import count_nodes, infer_shapes, load
from graphopt.ir.edit import bodies, constant, nodes_of, owners, shape_of
from graphopt.ir.external import tensors
from graphopt.ir.infer import anonymous
from graphopt.ir.symbolic import MADE_UP
from graphopt.ir.validate import describe
from graphopt.pipeline.manager import no_collection
from graphopt.source import file_facts
from graphopt.support.work import macs, moved_bytes
from graphopt.verify import check_dims, concrete_shapes, real_inputs

SCHEMA = "graphopt.inspect/1"


@dataclass(frozen=True)
class Layer:
    """One node.

    Attributes:
        name: of the node, or of its first output where it has none.
        op_type: with its domain in front where that is not ONNX's.
        output: type and shape of the first output, as "float32[1,64,56,56]".
        parameters: elements of the constants that it reads; those that several nodes read count at the first.
        macs: multiply-accumulates of one execution, None where a shape that decides them is not known.
        moved: bytes that it reads and writes.
    """

    name: str
    op_type: str
    output: str
    parameters: int
    macs: int | None
    moved: int


@dataclass(frozen=True)
class Inspection:
    """What is in a model.

    Attributes:
        path: as the user wrote it.
        producer: what wrote the file, "" where it does not say.
        ir_version: of the file format.
        opsets: version of each operator set, ONNX's own under "ai.onnx".
        bytes: of the file and its external data.
        parameters: elements of all weights.
        weights: bytes of weights by element type.
        inputs, outputs: type and shape of each by name, as "float32[batch,3,224,224]".
        dynamic: the dimensions that the model leaves open, by input.
        sizes: the shape of each input at which shapes, MACs and memory were computed.
        nodes: of all graphs, Constant nodes not counted.
        subgraphs, functions: how many bodies and functions hold some of them.
        operators: how often each operator occurs, the most frequent first.
        macs: multiply-accumulates of one run, bodies of loops counted once.
        unknown: nodes whose MACs depend on shapes that are not known.
        moved: bytes that all nodes read and write.
        activation_peak: bytes of values that are alive at once, see `graphopt.inspection.memory`.
        peak_at: the node where they are.
        unsized: values without a known size, which the peak leaves out.
        quantization: in what form the model is quantized, "" where it is not.
        layers: the nodes in order.
    """

    path: str
    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    bytes: int
    parameters: int
    weights: Mapping[str, int]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    dynamic: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, tuple[int, ...]]
    nodes: int
    subgraphs: int
    functions: int
    operators: Mapping[str, int]
    macs: int
    unknown: int
    moved: int
    activation_peak: int
    peak_at: str
    unsized: int
    quantization: str
    layers: tuple[Layer, ...]

    def as_json(self) -> dict[str, Any]:
        """The object of the schema "graphopt.inspect/1"."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}


def inspect(file: str | Path, *, dims: Mapping[str, int | tuple[int, ...]] | None = None) -> Inspection:
    """Read a model file and say what is in it; weights stay on disk.

    Args:
        file: the .onnx file.
        dims: sizes of dynamic dimensions by name, or whole shapes by input name; the others take sizes that are usual
            for such an input (see `graphopt.verify.dims`), and `Inspection.sizes` says which.

    Raises:
        ModelError: it is not a model.
        UserError: `dims` names what the model lacks.
    """
    return survey(load(file), file, dims=dims)


@no_collection()
def survey(model: ir.Model, file: str | Path, *, dims: Mapping[str, int | tuple[int, ...]] | None = None) -> Inspection:
    """Say what is in a model that was loaded from a file; shapes inside it are inferred for the chosen sizes."""
    declared = [(value, value.shape) for value in model.graph.inputs]
    signature = _Signature(model)
    sizes = _fix(model, dims or {})
    infer_shapes(model)
    try:
        return _facts(model, Path(file), signature, sizes)
    finally:
        for value, shape in declared:
            value.shape = shape


class _Signature:
    """What a model declares of its inputs and outputs."""

    def __init__(self, model: ir.Model) -> None:
        taken = real_inputs(model)
        self.inputs = {value.name or "": described(value) for value in taken}
        self.outputs = {value.name or "": described(value) for value in model.graph.outputs}
        self.dynamic = {value.name or "": open_dims(value) for value in taken if open_dims(value)}


def _facts(model: ir.Model, file: Path, signature: _Signature, sizes: dict[str, tuple[int, ...]]) -> Inspection:
    nodes = [node for owner in owners(model) for node in nodes_of(owner) if not _is_constant(node)]
    layers = tuple(_layers(nodes))
    operators = Counter(layer.op_type for layer in layers)
    peak, facts = activation_peak(model.graph), file_facts(model, file, str(file), hashes=False)
    weights: Counter[str] = Counter()
    for _, tensor in tensors(model):
        weights[type_name(tensor.dtype)] += tensor.nbytes
    return Inspection(
        path=str(file), producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        ir_version=model.ir_version or 0,
        opsets={name or "ai.onnx": version for name, version in model.opset_imports.items()},
        bytes=facts.bytes, parameters=facts.parameters, weights=dict(weights.most_common()),
        inputs=signature.inputs, outputs=signature.outputs, dynamic=signature.dynamic, sizes=sizes,
        nodes=count_nodes(model),
        subgraphs=sum(1 for node in nodes for _ in bodies(node)), functions=len(model.functions),
        operators=dict(operators.most_common()), macs=sum(layer.macs or 0 for layer in layers),
        unknown=sum(layer.macs is None for layer in layers), moved=sum(layer.moved for layer in layers),
        activation_peak=peak.bytes, peak_at=describe(peak.node) if peak.node is not None else "", unsized=peak.unsized,
        quantization=quantization(nodes), layers=layers,
    )  # fmt: skip


def described(value: ir.Value) -> str:
    """Type and shape of a value as they are declared, as "float32[batch,3,?,?]"; "?" for what is not known."""
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        return str(value.type)
    return _text(value.dtype, value.shape)


def open_dims(value: ir.Value) -> tuple[str, ...]:
    """The dimensions that a value's declaration leaves open: their names, "?" for one without."""
    dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
    return tuple("?" if anonymous(dim) else str(dim) for dim in dims if anonymous(dim) or not isinstance(dim, int))


def _text(dtype: ir.DataType | None, shape: ir.Shape | None) -> str:
    if shape is None:
        return f"{type_name(dtype)}[…]"
    dims = [d if isinstance(d, int) else d.value for d in shape]
    told = ("?" if anonymous(dim) or (isinstance(dim, str) and MADE_UP in dim) else str(dim) for dim in dims)
    return f"{type_name(dtype)}[{','.join(told)}]"


def _fix(model: ir.Model, dims: Mapping[str, int | tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Give every input one size; an input without a shape, or that is no tensor, leaves all as they are."""
    check_dims(model, dims)
    values = real_inputs(model)
    if any(value.shape is None and value.name not in dims for value in values):
        return {}
    sizes = concrete_shapes(model, dims)
    for value in values:
        value.shape = ir.Shape(sizes[value.name or ""])
    return sizes


def _layers(nodes: list[ir.Node]) -> Iterator[Layer]:
    counted: set[ir.Value] = set()
    for node in nodes:
        held = {value: t for value in node.inputs if value is not None and (t := constant(value)) is not None}
        own = sum(tensor.size for value, tensor in held.items() if value not in counted)
        counted.update(held)
        output = next((value for value in node.outputs if value.name), None)
        yield Layer(
            name=describe(node), op_type=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
            output="" if output is None else _text(output.dtype, shape_of(output) or output.shape),
            parameters=own, macs=macs(node), moved=round(moved_bytes(node)),
        )  # fmt: skip


def _is_constant(node: ir.Node) -> bool:
    return node.op_type == "Constant" and not node.domain
