"""Small editing helpers that onnx_ir lacks: constants, names, replacement that keeps the signature, provenance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.validate import describe

PASS_KEY = "graphopt.pass"
"""Metadata key on a node: the rule or pass that made it."""
FROM_KEY = "graphopt.from"
"""Metadata key on a node: names of the nodes of the user's model that it stands for, separated by commas."""
_MOST_SOURCES = 32
_BODY = "graphopt.body"


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of a value that never changes, else None.

    Constants are initializers that the caller cannot override (an initializer that is also a graph input has only a
    default value) and outputs of Constant nodes. Nothing is read from disk.
    """
    if value is None:
        return None
    if value.is_initializer():
        return None if value.is_graph_input() else value.const_value
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain:
        return None
    return _constant_node(node)


def _constant_node(node: ir.Node) -> ir.TensorProtocol | None:
    held = node.meta.data.get("graphopt.tensor")
    if held is not None:
        return held  # type: ignore[no-any-return]
    tensor: ir.TensorProtocol
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            tensor = attribute.value
        elif name in ("value_float", "value_floats"):
            tensor = ir.tensor(np.array(attribute.value, np.float32))
        elif name in ("value_int", "value_ints"):
            tensor = ir.tensor(np.array(attribute.value, np.int64))
        elif name == "value_string":
            tensor = ir.StringTensor([_encoded(attribute.value)], shape=ir.Shape([]))
        elif name == "value_strings":
            texts = [_encoded(text) for text in attribute.value]
            tensor = ir.StringTensor(texts, shape=ir.Shape([len(texts)]))
        else:
            return None
        node.meta["graphopt.tensor"] = tensor
        return tensor
    return None


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def shape_of(value: ir.Value | None) -> ir.Shape | None:
    """The shape of a value as far as it is proven, None where even the rank is unknown.

    What a file declares of interior values and of its outputs may be wrong, so nothing is rewritten on its word:
    proven is what shape inference found, what an input of the model promises, and what a constant has. An input of a
    body promises nothing: a Loop may hand it another shape in every turn.
    """
    if value is None:
        return None
    # `.data` is the plain dict inside: this runs many times for every value of a graph.
    proven = value.meta.data.get("graphopt.shape")
    if proven is not None:
        return proven  # type: ignore[no-any-return]
    tensor = constant(value)
    if tensor is not None:
        return tensor.shape  # type: ignore[return-value]
    promised = value.is_graph_input() and value.graph is not None and _BODY not in value.graph.meta
    return value.shape if promised and not isinstance(value.type, ir.SequenceType | ir.OptionalType) else None


def set_shape(value: ir.Value, shape: ir.Shape) -> None:
    """Record a proven shape; it is also what the file will say, except of graph inputs and outputs."""
    value.meta["graphopt.shape"] = shape
    if not value.is_graph_output() and not value.is_graph_input():
        value.shape = shape


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape as integers, None unless every dimension is known."""
    shape = shape_of(value)
    if shape is None or not all(isinstance(d, int) for d in shape):
        return None
    return tuple(int(d) for d in shape)  # type: ignore[arg-type]


def opset(node: ir.Node) -> int:
    """Version of the operator set that a node of the default domain follows."""
    if node.version is not None:
        return node.version
    return opset_of(node.graph, node.domain)


def opset_of(graph: ir.Graph | None, domain: str = "") -> int:
    """Version of an operator set that a graph imports; bodies know theirs from `adopt_opsets`."""
    return 1 if graph is None else graph.opset_imports.get(domain, 1)


def adopt_opsets(model: ir.Model) -> None:
    """Let every body know that it is one, and the operator sets of the graph around it (a file says them only once)."""
    for owner in owners(model):
        waiting = [owner]
        while waiting:
            for node in waiting.pop():
                for body in bodies(node):
                    body.opset_imports.update(owner.opset_imports)
                    body.meta[_BODY] = True
                    waiting.append(body)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs that a node carries in its attributes."""
    # `.data` is the plain dict inside: this runs once or more for every node of a graph.
    for attribute in node.attributes.data.values():
        kind = attribute.type
        if kind is ir.AttributeType.GRAPH and not attribute.is_ref():
            yield attribute.value
        elif kind is ir.AttributeType.GRAPHS and not attribute.is_ref():
            yield from attribute.value


def nodes_of(graph: ir.Graph) -> Iterator[ir.Node]:
    """All nodes of a graph and of the bodies inside it, a node before what its bodies hold."""
    for node in graph:
        yield node
        if node.attributes.data:
            for body in bodies(node):
                yield from nodes_of(body)


def readers(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that read a value, one by one, a node as often as it reads it; the graph must not change meanwhile.

    `Value.uses()` and `Value.consumers()` copy all readers in every call: asked once a node of a constant that every
    node reads, that is quadratic. onnx_ir has no other public way, so this looks at the table behind them.
    """
    for use in value._uses:
        yield use.node


def is_read(value: ir.Value) -> bool:
    """Whether any node reads a value."""
    return bool(value._uses)


def owners(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, then the graph of each function; bodies inside them are reached through their nodes."""
    yield model.graph
    for function in model.functions.values():
        yield function.graph


def count_nodes(model: ir.Model) -> int:
    """Nodes of all graphs, bodies and functions; Constant nodes not counted."""
    return sum(node.op_type != "Constant" for graph in owners(model) for node in nodes_of(graph))


class Names:
    """Fresh names for a model. Deterministic: the same requests in the same order give the same names."""

    def __init__(self, model: ir.Model) -> None:
        self._used: set[str] = set()
        self._next: dict[str, int] = {}
        for owner in owners(model):
            self._used.update(v.name for v in owner.inputs if v.name)
            self._used.update(owner.initializers)
            for node in nodes_of(owner):
                if node.name:
                    self._used.add(node.name)
                self._used.update(v.name for v in node.outputs if v.name)
                for body in bodies(node):
                    self._used.update(v.name for v in body.inputs if v.name)
                    self._used.update(body.initializers)

    def fresh(self, stem: str) -> str:
        """A name that nothing in the model has, made from `stem`."""
        name = stem
        while name in self._used or not name:
            number = self._next.get(stem, 0) + 1
            self._next[stem] = number
            name = f"{stem}_{number}"
        self._used.add(name)
        return name


def add_constant(graph: ir.Graph, array: np.ndarray | ir.TensorProtocol, name: str) -> ir.Value:
    """A new initializer of the graph; the array is made read-only, since tensors are shared."""
    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array) if array.ndim else array
        array.flags.writeable = False
        tensor: ir.TensorProtocol = ir.Tensor(array, name=name)
    else:
        tensor = array
    value = ir.Value(
        name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def mark(nodes: Iterable[ir.Node], made_by: str, sources: Sequence[ir.Node]) -> None:
    """Stamp provenance on new nodes: who made them and which nodes of the user's model they stand for."""
    names: dict[str, None] = {}
    for source in sources:
        before = source.metadata_props.get(FROM_KEY)
        names.update(dict.fromkeys(before.split(",") if before else (describe(source),)))
        if len(names) > _MOST_SOURCES:
            break
    text = ",".join(list(names)[:_MOST_SOURCES])
    for node in nodes:
        node.metadata_props[PASS_KEY] = made_by
        node.metadata_props[FROM_KEY] = text


def sources_of(node: ir.Node) -> list[str]:
    """Names of the nodes of the user's model that a node stands for: itself, unless a pass made it."""
    text = node.metadata_props.get(FROM_KEY)
    return text.split(",") if text else [describe(node)]


def can_take_over(old: ir.Value, new: ir.Value) -> bool:
    """Whether `new` can become what `old` was, where `old` is a graph output: it must be made in that graph."""
    producer = new.producer()
    return (
        producer is not None and producer.graph is old.graph and not new.is_graph_output() and not new.is_graph_input()
    )


def redirect(old: ir.Value, new: ir.Value) -> bool:
    """Let everything that reads `old` read `new`, keeping names and order of graph outputs.

    Returns:
        False, with nothing changed, where `old` is a graph output whose place `new` cannot take
        (see `can_take_over`): the caller needs an Identity.
    """
    if old.is_graph_output():
        if not can_take_over(old, new):
            return False
        name, declared, type_ = old.name, old.shape, old.type
        inherit(old, new)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = None
        new.name, new.shape, new.type = name, declared, type_
        new.doc_string = old.doc_string or new.doc_string
        new.metadata_props.update(old.metadata_props)
        return True
    inherit(old, new)
    old.replace_all_uses_with(new)
    return True


def inherit(old: ir.Value, new: ir.Value) -> None:
    """What is known of `old` holds for `new`, which has the same value."""
    if new.type is None:
        new.type = old.type
    known = shape_of(old)
    if known is not None and shape_of(new) is None:
        set_shape(new, known)
    partial = old.meta.get("graphopt.partial")
    if partial is not None and "graphopt.partial" not in new.meta:
        new.meta["graphopt.partial"] = partial


def attribute(name: str, value: Any) -> ir.Attr:
    """An attribute from a Python value, as `ir.convenience.convert_attribute`, with numpy scalars accepted."""
    if isinstance(value, np.generic):
        value = value.item()
    return ir.convenience.convert_attribute(name, value)
