"""What a run's page draws, out of the models: both graphs with shapes, work, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx_ir as ir

from graphopt.ir import infer_shapes
from graphopt.ir.edit import FROM_KEY, PASS_KEY, bodies, sources_of, static_shape
from graphopt.ir.symbolic import MADE_UP
from graphopt.ir.validate import describe
from graphopt.report.drawing import Drawing, Graph, Node, Value
from graphopt.report.model import FileFacts
from graphopt.support.foresight import Views
from graphopt.support.work import macs, moved_bytes

_LONGEST = 160
"""Characters of an attribute that are shown."""
_MOST = 20_000
"""Nodes that are drawn: a page with more would take a browser long to open."""


def draw(before: ir.Model, after: ir.Model) -> Drawing | None:
    """Both graphs as the page wants them, bodies of control flow laid out beside the nodes that run them.

    Args:
        before: the original, with the shapes inferred that are to be shown.
        after: the optimized model.

    Returns:
        The drawing, None of graphs with more than 20,000 nodes.
    """
    if any(sum(1 for _ in model.graph.all_nodes()) > _MOST for model in (before, after)):
        return None
    return Drawing(before=_graph(before), after=_graph(after))


def worked(facts: FileFacts, model: ir.Model) -> FileFacts:
    """The facts of a model file with the work of one inference, where the shapes say it; bodies count once."""
    nodes = list(model.graph.all_nodes())
    counts = [macs(node) for node in nodes]
    sized = all(static_shape(value) is not None for node in nodes for value in node.outputs if value.name)
    return replace(
        facts,
        macs=None if None in counts else sum(count or 0 for count in counts),
        moved_bytes=round(sum(map(moved_bytes, nodes))) if sized else None,
    )


def sized_like(model: ir.Model, other: ir.Model) -> ir.Model:
    """Give a model's dynamic inputs the sizes that another has for them.

    Returns:
        The model with the shapes that follow, those too that its sizes are computed for: itself, or a copy.
    """
    sizes = {value.name: static_shape(value) for value in other.graph.inputs}
    for value in model.graph.inputs:
        size = sizes.get(value.name)
        if size is None or value.shape is None or len(size) != len(value.shape):
            continue
        if all(
            not isinstance(dim, int) or dim < 0 or dim == fixed for dim, fixed in zip(value.shape, size, strict=True)
        ):
            value.shape = ir.Shape(size)
    infer_shapes(model)
    return Views(model).view("sizes").model


def _graph(model: ir.Model) -> Graph:
    ids: dict[ir.Value, int] = {}
    weighed: set[ir.Value] = set()

    def number(value: ir.Value) -> int:
        return ids.setdefault(value, len(ids))

    def drawn(node: ir.Node, body: str) -> Node:
        weights = [value for value in dict.fromkeys(_weights(node)) if value not in weighed]
        weighed.update(weights)
        tensors = [value.const_value for value in weights if value.const_value is not None]
        return Node(
            name=describe(node), op_type=_operator(node), body=body,
            inputs=tuple(None if value is None else number(value) for value in node.inputs),
            outputs=tuple(number(value) for value in node.outputs if value.name or value.uses()),
            reads=tuple(number(v) for graph in bodies(node) for v in graph.outputs if v is not None),
            attributes={name: _text(attribute) for name, attribute in node.attributes.items()},
            made_by=node.metadata_props.get(PASS_KEY, ""),
            sources=tuple(sources_of(node)) if FROM_KEY in node.metadata_props else (),
            macs=macs(node), parameters=sum(t.size for t in tensors), bytes=sum(t.nbytes for t in tensors),
        )  # fmt: skip

    nodes = tuple(drawn(node, body) for node, body in _every(model.graph, ""))
    inputs = tuple(number(value) for value in model.graph.inputs)
    outputs = tuple(number(value) for value in model.graph.outputs)
    return Graph(nodes=nodes, values=tuple(_value(value) for value in ids), inputs=inputs, outputs=outputs)


def _every(graph: ir.Graph, body: str) -> Iterator[tuple[ir.Node, str]]:
    """All nodes that compute, those of bodies before the node that runs them, with the name of their body."""
    for node in graph:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            continue
        for attribute in node.attributes.values():
            inside = [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else []
            inside += attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else []
            for one in inside:
                yield from _every(one, f"{attribute.name} of {describe(node)}")
        yield node, body


def _weights(node: ir.Node) -> Iterator[ir.Value]:
    """The weights that a node computes with, also where it reads them as codes; what only decodes them has none."""
    if _from_codes(node):
        return
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        if value is not None and _is_weight(value):
            yield value
        elif maker is not None and _from_codes(maker):
            yield from (part for part in maker.inputs if part is not None)


def _from_codes(node: ir.Node) -> bool:
    """Whether a node gives the values of weights that are stored as codes."""
    return node.op_type == "DequantizeLinear" and all(value is None or _is_weight(value) for value in node.inputs)


def _is_weight(value: ir.Value) -> bool:
    producer = value.producer()
    if producer is not None:
        return producer.op_type == "Constant"
    return value.const_value is not None


def _value(value: ir.Value) -> Value:
    shape, dtype = value.shape, value.dtype
    told = "" if shape is None else _sizes([dim if isinstance(dim, int) else _open(dim) for dim in shape])
    return Value(
        name=value.name or "", dtype="" if dtype is None else _type(dtype), shape=told, constant=_is_weight(value)
    )


def _open(dim: ir.SymbolicDim) -> str:
    """The name of a dimension, a question mark where inference made up a formula for it."""
    return dim.value if dim.value is not None and dim.value.isidentifier() and MADE_UP not in dim.value else "?"


def _sizes(shape: Iterable[int | str]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _type(dtype: ir.DataType) -> str:
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def _operator(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _text(attribute: ir.Attr) -> str:
    """An attribute as people read it: numbers and texts as they are, tensors and graphs by their size."""
    kinds, value = ir.AttributeType, attribute.value
    if attribute.type == kinds.TENSOR:
        tensor = attribute.as_tensor()
        return f"{_type(tensor.dtype)} {_sizes(tensor.shape.numpy())}"
    if attribute.type == kinds.GRAPH:
        return f"graph of {len(attribute.as_graph())} nodes"
    if attribute.type in (kinds.FLOAT, kinds.FLOATS):
        told = [_number(one) for one in ([value] if attribute.type == kinds.FLOAT else value)]
        text = told[0] if attribute.type == kinds.FLOAT else f"[{', '.join(told)}]"
    elif attribute.type in (kinds.INTS, kinds.STRINGS):
        text = f"[{', '.join(map(str, value))}]"
    elif attribute.type in (kinds.INT, kinds.STRING):
        text = str(value)
    else:
        text = attribute.type.name.lower()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else str(value)
