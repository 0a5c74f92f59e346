"""Views of a model for other libraries: networkx for graph algorithms, onnx-graphsurgeon for passes written on it."""

from __future__ import annotations

from typing import Any

import networkx as nx
import onnx_ir as ir

from graphopt.ir.edit import adopt_opsets, bodies
from graphopt.ir.io import to_proto


def as_networkx(graph: ir.Graph) -> nx.MultiDiGraph:
    """The nodes of a graph and the values between them.

    Nodes are `ir.Node` objects in graph order; an edge (a, b) has `value=` (the `ir.Value`) and `index=` (which input
    of b it is). What a body reads from around it is an edge to the node that carries the body. Constants that are
    initializers and graph inputs are not nodes. Changing the view does not change the model.
    """
    view = nx.MultiDiGraph()
    view.add_nodes_from(graph)
    for node in graph:
        for index, value in enumerate(node.inputs):
            producer = value.producer() if value is not None else None
            if producer is not None and producer.graph is graph:
                view.add_edge(producer, node, value=value, index=index)
        waiting = list(bodies(node))
        while waiting:
            for inner in waiting.pop():
                waiting.extend(bodies(inner))
                for value in inner.inputs:
                    producer = value.producer() if value is not None else None
                    if producer is not None and producer.graph is graph:
                        view.add_edge(producer, node, value=value, index=None)
    return view


def as_graphsurgeon(model: ir.Model) -> Any:
    """The main graph as an `onnx_graphsurgeon.Graph`; bring it back with `from_graphsurgeon`."""
    import onnx_graphsurgeon as gs

    return gs.import_onnx(to_proto(model))


def from_graphsurgeon(graph: Any, original: ir.Model) -> ir.Model:
    """The model that a changed `onnx_graphsurgeon.Graph` stands for.

    onnx-graphsurgeon has no place for some of what a model says (metadata of the model, the graph and its values,
    doc strings, symbolic dimensions of outputs): that is taken from `original`.
    """
    import onnx_graphsurgeon as gs

    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = original.ir_version
    model = ir.serde.deserialize_model(proto)
    model.producer_name, model.producer_version = original.producer_name, original.producer_version
    model.domain, model.model_version = original.domain, original.model_version
    model.doc_string = original.doc_string
    model.metadata_props.update(original.metadata_props)
    model.graph.name, model.graph.doc_string = original.graph.name, original.graph.doc_string
    model.graph.metadata_props.update(original.graph.metadata_props)
    for new, old in ((model.graph.inputs, original.graph.inputs), (model.graph.outputs, original.graph.outputs)):
        known = {value.name: value for value in old}
        for value in new:
            before = known.get(value.name)
            if before is not None:
                value.shape, value.doc_string = before.shape, before.doc_string
                value.metadata_props.update(before.metadata_props)
    _restore_defaults(model.graph, original.graph)
    nodes = {n.name: n for n in original.graph if n.name}
    for node in model.graph:
        before_node = nodes.get(node.name or "")
        if before_node is not None and before_node.op_type == node.op_type:
            node.doc_string = before_node.doc_string
            node.metadata_props.update(before_node.metadata_props)
    for identifier, function in original.functions.items():
        model.functions.setdefault(identifier, function)
    for key in ("graphopt.training_info", "graphopt.described"):
        if key in original.meta:
            model.meta[key] = original.meta[key]
    adopt_opsets(model)
    return model


def _restore_defaults(graph: ir.Graph, original: ir.Graph) -> None:
    """Put back the inputs that have a default: onnx-graphsurgeon makes plain constants of them."""
    left = {value.name: value for value in graph.inputs}
    inputs = []
    for before in original.inputs:
        if before.name in left:
            inputs.append(left.pop(before.name))
        elif before.name in original.initializers:
            value = graph.initializers.get(before.name or "")
            if value is None:  # no node reads it
                value = ir.Value(name=before.name, type=before.type, const_value=before.const_value)
                graph.register_initializer(value)
            value.shape, value.doc_string = before.shape, before.doc_string
            inputs.append(value)
    graph.inputs[:] = [*inputs, *left.values()]
