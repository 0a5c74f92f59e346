"""Is what a pass leaves still sound, does it keep its signature, and did it change at all?"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from graphopt.ir.edit import nodes_of, owners
from graphopt.ir.io import to_light_proto

_SMALL = 1024
"""Bytes up to which a tensor is shown to the checker as it is."""


def complaint_of(model: ir.Model) -> str | None:
    """What the onnx package's own checker says against a model, None where it has nothing to say; weights aside."""
    import onnx

    proto = to_light_proto(model, _SMALL)
    for graph in _graphs(proto.graph):
        for tensor in graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                # The checker reads only the type and the dimensions that matter here.
                dims, kind, name = list(tensor.dims), tensor.data_type, tensor.name
                tensor.Clear()
                tensor.name, tensor.data_type = name, kind
                tensor.dims.extend(0 for _ in dims or [0])
    try:
        onnx.checker.check_model(proto, full_check=False)
    except onnx.checker.ValidationError as error:
        return str(error).strip().splitlines()[0]
    return None


def _graphs(graph: Any) -> list[Any]:
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.extend(_graphs(attribute.g))
    return found


Signature = tuple[tuple[tuple[str | None, str, tuple[object, ...] | None], ...], ...]


def signature_of(model: ir.Model) -> Signature:
    """Names, types and shapes of inputs and outputs, in order; and which inputs have defaults."""

    def facts(value: ir.Value) -> tuple[str | None, str, tuple[object, ...] | None]:
        shape = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
        return value.name, f"{value.type}{' with a default' if value.is_initializer() else ''}", shape

    return tuple(map(facts, model.graph.inputs)), tuple(map(facts, model.graph.outputs))


def difference(before: Signature, after: Signature) -> str:
    """The first difference between two signatures, in words."""
    for kind, old, new in zip(("inputs", "outputs"), before, after, strict=True):
        names, now = [v[0] for v in old], [v[0] for v in new]
        if names != now:
            return f"the {kind} were {', '.join(map(str, names))} and are {', '.join(map(str, now))}"
        for a, b in zip(old, new, strict=True):
            if a != b:
                return f"{a[0]} was {a[1]}{list(a[2] or [])} and is {b[1]}{list(b[2] or [])}"
    return "nothing"


class Fingerprint:
    """What a graph consists of, to see whether a pass changed it; linear in the nodes, no weight is read."""

    def __init__(self, model: ir.Model) -> None:
        # The parts themselves are kept, and compared by identity, which lasts as long as they are kept.
        self._signature, parts, names = signature_of(model), list[object]([model]), list[str | None]()
        for owner in owners(model):
            parts += [*owner.inputs, *owner.outputs]
            for node in nodes_of(owner):
                # `.data` is the plain dict inside.
                parts += [node, *node.inputs, *node.outputs, *node.attributes.data.values()]
                names += [node.name, *(value.name for value in node.outputs)]
        for graph in model.graphs():
            for value in graph.initializers.values():
                parts += [value, value.const_value]
        self._parts, self._names = parts, names

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fingerprint) or self._signature != other._signature:
            return False
        return self._names == other._names and list(map(id, self._parts)) == list(map(id, other._parts))

    __hash__ = None  # type: ignore[assignment]
