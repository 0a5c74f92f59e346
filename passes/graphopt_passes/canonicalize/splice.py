"""Put a copy of a body where a node stands: what inlining a function, taking a branch and unrolling a loop share.

    a ─┐                                  a ─┐
       If(true) <x ─ Relu ─ b> ─ y  becomes  x ─ Relu ─ y

Values of the body get names of their own, so that one body can be put down many times; its initializers become those
of the model (Constant nodes inside a function, which has none), once for all its copies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, bodies, can_take_over, inherit, mark, nodes_of, owners, redirect

Values = dict[ir.Value, "ir.Value | None"]
"""What stands outside for values of a body."""
_BODY = "graphopt.body"
_CARRIED = ("graphopt.shape", "graphopt.partial")


class Splicer:
    """Copies bodies into the graphs around them.

    Args:
        model: whose graphs are edited; its names are read once.
        made_by: the pass, for provenance.
        lone: the main graph is the body of a function, which has no initializers.
    """

    def __init__(self, model: ir.Model, made_by: str, *, lone: bool = False) -> None:
        self.model, self.made_by = model, made_by
        self.names = Names(model)
        self._occurrences = _occurrences(model)
        self._initializers: dict[tuple[ir.Value, ir.Graph], ir.Value] = {}
        self._in_function = {g for f in model.functions.values() for g in _graphs(f.graph)}
        if lone:
            self._in_function.update(_graphs(model.graph))
        self.made: list[ir.Node] = []
        """The nodes of the last copy."""

    def in_function(self, graph: ir.Graph | None) -> bool:
        """Whether a graph is in a function, which has no initializers."""
        return graph in self._in_function

    def copy(
        self,
        body: ir.Graph,
        at: ir.Node,
        values: Values,
        *,
        attributes: Mapping[str, ir.Attr] | None = None,
        alone: bool = False,
    ) -> list[ir.Value | None]:
        """Insert a copy of a body's nodes before a node.

        Args:
            body: the graph to copy; it stays as it is.
            at: where to.
            values: what its inputs stand for; the copy's values are added.
            attributes: what references to attributes stand for, None to leave references as they are.
            alone: this is the only copy and the body goes: names that nothing else has, and what is proven of its
                values, are kept.

        Returns:
            What stands for the outputs of the body.
        """
        graph = at.graph
        assert graph is not None
        for value in body.initializers.values():
            if value not in values:
                values[value] = self._initializer(value, graph)
        made = []
        for node in body:
            fresh = self._node(node, values, graph, attributes, alone)
            if fresh.name != node.name or not alone:
                mark([fresh], self.made_by, [node] if node.name else [at])
            made.append(fresh)
        graph.insert_before(at, made)
        self.made = made
        return [values.get(v, v) for v in body.outputs]

    def replace(self, node: ir.Node, outputs: Sequence[ir.Value | None]) -> None:
        """Let values take the place of a node's outputs, graph outputs included, and remove it."""
        graph = node.graph
        assert graph is not None
        for old, new in zip(node.outputs, outputs, strict=True):
            if new is None:
                continue
            if old.is_graph_output() and not (can_take_over(old, new) and new.producer() is not node):
                identity = ir.Node("", "Identity", [new], name=self.names.fresh(f"{node.name or 'output'}_Identity"))
                identity.outputs[0].name = self.names.fresh(f"{old.name}_kept")
                identity.outputs[0].type = new.type
                graph.insert_before(node, identity)
                mark([identity], self.made_by, [node])
                inherit(new, identity.outputs[0])
                new = identity.outputs[0]
            redirect(old, new)
        self.remove(node)

    def remove(self, node: ir.Node) -> None:
        """Take away a node that nothing reads, with all that its bodies read."""
        assert node.graph is not None
        for body in bodies(node):
            for inner in nodes_of(body):
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)
        node.graph.remove(node, safe=True)

    def constant(self, tensor: ir.TensorProtocol, at: ir.Node, stem: str) -> ir.Value:
        """A constant that a node at this place can read."""
        assert at.graph is not None
        name = self.names.fresh(stem)
        if at.graph not in self._in_function:
            return add_constant(self.model.graph, tensor, name)
        node = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], name=name)
        node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(tensor.dtype)
        at.graph.insert_before(at, node)
        return node.outputs[0]

    def node(
        self, at: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], stem: str, *, outputs: int = 1,
        attributes: Sequence[ir.Attr] = (),
    ) -> list[ir.Value]:  # fmt: skip
        """Insert a new node of the default domain before a node; returns its outputs."""
        assert at.graph is not None
        made = ir.Node("", op_type, inputs, attributes, num_outputs=outputs, name=self.names.fresh(f"{stem}_{op_type}"))
        for value in made.outputs:
            value.name = self.names.fresh(f"{stem}_{op_type}_out")
        at.graph.insert_before(at, made)
        mark([made], self.made_by, [at])
        return list(made.outputs)

    def _initializer(self, value: ir.Value, graph: ir.Graph) -> ir.Value:
        # A Constant node serves one graph; an initializer of the model serves all.
        key = (value, graph if graph in self._in_function else self.model.graph)
        held = self._initializers.get(key)
        if held is None:
            tensor = value.const_value
            assert tensor is not None
            name = self.names.fresh(value.name or "constant")
            if graph in self._in_function:
                node = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], name=name)
                held = node.outputs[0]
                held.name = name
                held.type = ir.TensorType(tensor.dtype)
                graph.insert_before(graph[0], node)
            else:
                held = add_constant(self.model.graph, tensor, name)
            self._initializers[key] = held
        return held

    def _node(
        self, node: ir.Node, values: Values, graph: ir.Graph, attributes: Mapping[str, ir.Attr] | None, alone: bool
    ) -> ir.Node:
        held = []
        for name, attribute in node.attributes.items():
            known = self._attribute(name, attribute, values, graph, attributes, alone)
            if known is not None:
                held.append(known)
        made = ir.Node(
            node.domain, node.op_type, [None if v is None else values.get(v, v) for v in node.inputs], held,
            overload=node.overload, num_outputs=len(node.outputs), name=self._name(node.name, alone),
            doc_string=node.doc_string, metadata_props=dict(node.metadata_props),
        )  # fmt: skip
        for old, new in zip(node.outputs, made.outputs, strict=True):
            self._describe(old, new, alone)
            values[old] = new
        return made

    def _attribute(
        self, name: str, attribute: ir.Attr, values: Values, graph: ir.Graph,
        attributes: Mapping[str, ir.Attr] | None, alone: bool,
    ) -> ir.Attr | None:  # fmt: skip
        if attribute.is_ref():
            if attributes is None:
                return attribute
            given = attributes.get(attribute.ref_attr_name or "")
            if given is None:
                return None  # the caller left out an attribute without a default, so this is left out as well
            if given.is_ref():
                return ir.RefAttr(name, given.ref_attr_name or "", given.type)
            return ir.Attr(name, given.type, given.value)
        if attribute.type == ir.AttributeType.GRAPH:
            return ir.AttrGraph(name, self._graph(attribute.value, values, graph, attributes, alone))
        if attribute.type == ir.AttributeType.GRAPHS:
            made = [self._graph(one, values, graph, attributes, alone) for one in attribute.value]
            return ir.AttrGraphs(name, made)
        return attribute

    def _graph(
        self, body: ir.Graph, values: Values, graph: ir.Graph, attributes: Mapping[str, ir.Attr] | None, alone: bool
    ) -> ir.Graph:
        inputs = []
        for value in (*body.inputs, *(v for v in body.initializers.values() if v not in body.inputs)):
            fresh = ir.Value(const_value=value.const_value)
            self._describe(value, fresh, alone)
            values[value] = fresh
            inputs.append(fresh)
        nodes = [self._node(node, values, graph, attributes, alone) for node in body]
        made = ir.Graph(
            inputs[: len(body.inputs)], [values.get(v, v) or v for v in body.outputs], nodes=nodes,
            initializers=[values[v] for v in body.initializers.values()],  # type: ignore[misc]
            doc_string=body.doc_string, opset_imports=dict(graph.opset_imports), name=body.name,
            metadata_props=dict(body.metadata_props),
        )  # fmt: skip
        made.meta[_BODY] = True
        if graph in self._in_function:
            self._in_function.add(made)
        return made

    def _describe(self, old: ir.Value, new: ir.Value, alone: bool) -> None:
        new.name = self._name(old.name, alone)
        new.type, new.doc_string = old.type, old.doc_string
        new.metadata_props.update(old.metadata_props)
        if alone:
            new.shape = old.shape
            new.meta.update({key: old.meta[key] for key in _CARRIED if key in old.meta})

    def _name(self, name: str | None, alone: bool) -> str | None:
        if not name:
            return name
        return name if alone and self._occurrences[name] <= 1 else self.names.fresh(name)


def _graphs(graph: ir.Graph) -> list[ir.Graph]:
    return [graph, *(body for node in nodes_of(graph) for body in bodies(node))]


def _occurrences(model: ir.Model) -> Counter[str]:
    """How often each name is given to a node or a value in the whole model."""
    found: Counter[str] = Counter()
    for owner in owners(model):
        for graph in _graphs(owner):
            found.update(v.name for v in graph.inputs if v.name)
            found.update(name for name, v in graph.initializers.items() if v not in graph.inputs)
            for node in graph:
                # A node and its output may share a name: they are told apart.
                names = {node.name, *(v.name for v in node.outputs)}
                found.update(name for name in names if name)
    return found
