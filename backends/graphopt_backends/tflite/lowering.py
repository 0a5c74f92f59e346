"""Lower a whole ONNX graph: every node through the registry, every complaint collected, then the file's bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from graphopt.support.backend import NodeIssue
from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.flatbuffer import TYPES, Graph, minimum_runtime, operators, reachable
from graphopt_backends.tflite.interface import orders
from graphopt_backends.tflite.layout import Layout
from graphopt_backends.tflite.nodes import lower_nodes, own_tensor
from graphopt_backends.tflite.pack import pack
from graphopt_backends.tflite.registry import Decline
from graphopt_backends.tflite.settings import PLAIN, Options
from graphopt_backends.tflite.wishes import wishes


@dataclass(frozen=True)
class Lowered:
    """What became of a model.

    Attributes:
        content: the .tflite file, None where there are issues.
        issues: nodes and inputs that are not taken, in the order of the graph.
        flat: what was written: the graph that runs.
        tail: what follows the flatbuffer `content` in a file of more than 2 GiB.
        orders: layouts of inputs and outputs that are not ONNX's own, by name.
    """

    content: bytes | None
    issues: tuple[NodeIssue, ...]
    flat: Graph
    tail: Sequence[memoryview | bytes] = ()
    orders: Mapping[str, Layout] = field(default_factory=dict)

    def detail(self) -> dict[str, Any]:
        """What a report says of the file: operators by builtin, and the version range they need."""
        counts = Counter(operator.builtin for operator in operators(reachable(self.flat)))
        stored = {"stored_axes": {name: list(where) for name, where in self.orders.items()}} if self.orders else {}
        return {"operators": dict(counts.most_common()), "minimum_runtime": minimum_runtime(self.flat), **stored}


@dataclass(frozen=True)
class Written:
    """A graph that is not yet a file.

    Attributes:
        flat: what was written; whole where there are no issues.
        issues: nodes and inputs that are not taken.
        inputs, outputs: names in the signature, in the order of the graph's.
        name: of the model.
        orders: layouts of inputs and outputs that are not ONNX's own, by name.
    """

    flat: Graph
    issues: tuple[NodeIssue, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    name: str = ""
    orders: Mapping[str, Layout] = field(default_factory=dict)

    def finish(self) -> Lowered:
        """The file."""
        if self.issues:
            return Lowered(None, self.issues, self.flat)
        packed = pack(self.flat, self.inputs, self.outputs, self.name)
        return Lowered(packed.head, (), self.flat, packed.tail, self.orders)


def lower(model: ir.Model, options: Options = PLAIN) -> Lowered:
    """Write `model` as a .tflite file; see `write`."""
    return write(model, options).finish()


def write(model: ir.Model, options: Options = PLAIN) -> Written:
    """Write `model` as a graph of builtins.

    The model's inputs and outputs keep their names, order and element types, and ONNX's layout unless asked. Inputs
    with an initializer of their name become constants, as the format has no default values.

    Args:
        model: a model whose values have static shapes; it is not changed.
        options: what the user chose.
    """
    graph = model.graph
    e = Emitter(graph.opset_imports.get("", 1), hybrid=options.hybrid, wishes=wishes(graph))
    stored = orders(graph, options.io_layout)
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    issues = [issue for value in inputs for issue in _input_issues(value)]
    if issues:
        return Written(e.flat, tuple(issues))
    placed = {}
    for value in inputs:
        where = stored.get(value, layout.identity(e.rank(value)))
        tensor = e.flat.tensor(layout.stored(e.shape(value), where), e.dtype(value), name=value.name or "")
        e.write(value, tensor, where)
        placed[str(value.name)] = tensor
    issues += lower_nodes(graph, e)
    if issues:
        return Written(e.flat, tuple(issues))
    try:
        outputs = _outputs(graph.outputs, placed, stored, e)
    except Decline as decline:
        return Written(e.flat, (NodeIssue(e.origin, "", f"output {e.origin!r}: {decline}"),))
    e.flat.inputs, e.flat.outputs = list(placed.values()), list(outputs.values())
    e.flat.prune()
    moved = {str(value.name): where for value, where in stored.items() if where != layout.identity(len(where))}
    return Written(e.flat, (), tuple(placed), tuple(outputs), graph.name or "graphopt", moved)


def _input_issues(value: ir.Value) -> list[NodeIssue]:
    if value.shape is None or value.dtype is None:
        return [NodeIssue("", "", f"input {value.name!r} has no tensor type with a known rank")]
    unknown = [dim for dim in value.shape if not isinstance(dim, int) or dim < 0]
    if unknown:
        names = ", ".join(str(dim) if isinstance(dim, int) else dim.value or "?" for dim in unknown)
        reason = f"input {value.name!r} has the symbolic dimensions {names}: fix them with `--dim NAME=SIZE`"
        return [NodeIssue("", "", reason)]
    if _numpy_name(value.dtype) not in TYPES or value.dtype == ir.DataType.INT4:
        return [NodeIssue("", "", f"input {value.name!r} is of {value.dtype.name}, which LiteRT's tensors do not hold")]
    return []


def _numpy_name(dtype: ir.DataType) -> str:
    # Four-bit and eight-bit floats have numpy names too, but no tensor type of the schema.
    return "" if dtype == ir.DataType.STRING else str(dtype.numpy())


def _outputs(
    values: Sequence[ir.Value], inputs: dict[str, int], stored: Mapping[ir.Value, Layout], e: Emitter
) -> dict[str, int]:
    """The tensor of each output, in ONNX's layout where no other is `stored`, by its name."""
    taken, outputs = set(inputs.values()), {}
    for value in values:
        e.origin = str(value.name)
        if e.dtype(value) == "int4":
            raise Decline("LiteRT holds int4 in constants only")
        outputs[str(value.name)] = own_tensor(e, value, taken, stored.get(value))
    return outputs
