"""Lower a whole ONNX graph: every node through the registry, every complaint collected, then the file's bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from graphopt.support.backend import NodeIssue
from graphopt_backends.tflite import layout
from graphopt_backends.tflite.emitter import Emitter
from graphopt_backends.tflite.flatbuffer import TYPES, FlatModel
from graphopt_backends.tflite.registry import Decline, lowerings, name_of, operator_of


@dataclass(frozen=True)
class Lowered:
    """What became of a model.

    Attributes:
        content: the .tflite file, None where there are issues.
        issues: nodes and inputs that are not taken, in the order of the graph.
        flat: what was written.
    """

    content: bytes | None
    issues: tuple[NodeIssue, ...]
    flat: FlatModel

    def detail(self) -> dict[str, Any]:
        """What a report says of the file: operators by builtin, and the version range they need."""
        counts = Counter(operator.builtin for operator in self.flat.operators)
        return {"operators": dict(counts.most_common()), "minimum_runtime": self.flat.minimum_runtime()}


def lower(model: ir.Model) -> Lowered:
    """Write `model` as a .tflite file.

    The model's inputs and outputs keep their ONNX layout, names, order and element types. Inputs with an initializer
    of their name become constants, as the format has no default values.

    Args:
        model: a model whose values have static shapes; it is not changed.
    """
    graph, e = model.graph, Emitter(model.graph.opset_imports.get("", 1))
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    issues = [issue for value in inputs for issue in _input_issues(value)]
    if issues:
        return Lowered(None, tuple(issues), e.flat)
    for value in inputs:
        e.write(value, e.flat.tensor(e.shape(value), e.dtype(value), name=value.name or ""))
    placed = {str(value.name): e.read(value) for value in inputs}
    for node in graph:
        if node not in e.done:
            issues += _lower_node(node, e)
    if issues:
        return Lowered(None, tuple(issues), e.flat)
    try:
        outputs = _outputs(graph.outputs, placed, e)
    except Decline as decline:
        return Lowered(None, (NodeIssue(e.origin, "", f"output {e.origin!r}: {decline}"),), e.flat)
    e.flat.prune(list(outputs.values()))
    return Lowered(e.flat.serialize(placed, outputs, graph.name or "graphopt"), (), e.flat)


def _input_issues(value: ir.Value) -> list[NodeIssue]:
    if value.shape is None or value.dtype is None:
        return [NodeIssue("", "", f"input {value.name!r} has no tensor type with a known rank")]
    unknown = [dim for dim in value.shape if not isinstance(dim, int) or dim < 0]
    if unknown:
        names = ", ".join(str(dim) if isinstance(dim, int) else dim.value or "?" for dim in unknown)
        reason = f"input {value.name!r} has the symbolic dimensions {names}: fix them with `--dim NAME=SIZE`"
        return [NodeIssue("", "", reason)]
    if _numpy_name(value.dtype) not in TYPES:
        return [NodeIssue("", "", f"input {value.name!r} is of {value.dtype.name}, which LiteRT's tensors do not hold")]
    return []


def _numpy_name(dtype: ir.DataType) -> str:
    # Four-bit and eight-bit floats have numpy names too, but no tensor type of the schema.
    return "" if dtype == ir.DataType.STRING else str(dtype.numpy())


class _Unwritten(Decline):
    """The node only fails because an earlier one did."""


def _lower_node(node: ir.Node, e: Emitter) -> list[NodeIssue]:
    e.origin, e.taken = name_of(node), []
    try:
        if any(value is not None and value in e.broken for value in node.inputs):
            raise _Unwritten("an input was not written")
        function = lowerings().get(operator_of(node))
        if function is None:
            raise Decline(f"{operator_of(node)} has no lowering to LiteRT's builtin operators")
        function(node, e)
    except Decline as decline:
        _stand_in(node, e)
        reported = not isinstance(decline, _Unwritten)
        return [NodeIssue(name_of(node), node.op_type, str(decline))] if reported else []
    e.done.update(e.taken)
    return []


def _stand_in(node: ir.Node, e: Emitter) -> None:
    """Give the outputs of a declined node empty tensors, so that the nodes after it are judged too."""
    for output in node.outputs:
        try:
            e.write(output, e.flat.tensor(e.shape(output), e.dtype(output)))
        except Decline:
            e.broken.add(output)


def _outputs(values: Sequence[ir.Value], inputs: dict[str, int], e: Emitter) -> dict[str, int]:
    """The tensor of each output in ONNX's layout: its own, never an input, a constant or another output."""
    taken, outputs = set(inputs.values()), {}
    for value in values:
        e.origin = str(value.name)
        tensor = e.read(value, layout.identity(e.rank(value)))
        if tensor in taken or e.flat.tensors[tensor].data is not None:
            tensor = e.copy(tensor)
        taken.add(tensor)
        outputs[str(value.name)] = tensor
    return outputs
