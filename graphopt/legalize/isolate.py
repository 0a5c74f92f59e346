"""A small model of one node, its surroundings as far as a rule looks, to try things on.

Tensors are shared with the node's own model, so that this costs nothing for large weights.
"""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import bodies, constant, set_shape, shape_of


def isolate(node: ir.Node, opsets: dict[str, int], reach: int) -> tuple[ir.Model, ir.Node]:
    """Copy a node into a model of its own.

    Args:
        node: a node without bodies.
        opsets: opset versions by domain.
        reach: how many nodes upward to copy, too; QuantizeLinear nodes that read its outputs come along always.

    Returns:
        The model, whose inputs are what those nodes read and whose outputs are those of `node` that are read; and
        the copy of `node` in it.
    """
    return _Copy(opsets).of(node, reach)


class _Copy:
    def __init__(self, opsets: dict[str, int]) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports=dict(opsets), name="isolated")
        self.values: dict[ir.Value, ir.Value] = {}

    def of(self, node: ir.Node, reach: int) -> tuple[ir.Model, ir.Node]:
        copy = self._node(node, reach)
        for value in node.outputs:
            read = [use.node for use in value.uses()]
            quantizers = [user for user in read if user.op_type == "QuantizeLinear" and user.inputs[0] is value]
            for user in quantizers:
                self.graph.outputs.append(self._node(user, 0).outputs[0])
            if value.is_graph_output() or len(quantizers) < len(read):
                self.graph.outputs.append(self.values[value])
        return ir.Model(self.graph, ir_version=10), copy

    def _node(self, node: ir.Node, reach: int) -> ir.Node:
        inputs = [None if value is None else self._value(value, reach) for value in node.inputs]
        copy = ir.Node(
            node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs),
            name=node.name or "node",
        )  # fmt: skip
        for index, (old, new) in enumerate(zip(node.outputs, copy.outputs, strict=True)):
            new.name = f"made{len(self.values)}_{index}"
            _describe(old, new)
            self.values[old] = new
        self.graph.append(copy)
        return copy

    def _value(self, value: ir.Value, reach: int) -> ir.Value:
        if value in self.values:
            return self.values[value]
        maker = value.producer()
        tensor = constant(value)
        if tensor is None and maker is not None and reach > 0 and not any(bodies(maker)):
            self._node(maker, reach - 1)
            return self.values[value]
        copy = ir.Value(name=f"read{len(self.values)}")
        _describe(value, copy)
        if tensor is not None:
            copy.const_value, copy.type = tensor, ir.TensorType(tensor.dtype)
            copy.shape = ir.Shape(tensor.shape.numpy())
            self.graph.register_initializer(copy)
        else:
            self.graph.inputs.append(copy)
        self.values[value] = copy
        return copy


def _describe(old: ir.Value, new: ir.Value) -> None:
    new.type = old.type
    known = shape_of(old)
    if known is not None:
        new.shape = known  # an input's shape is a promise, so only what is proven may stand there
        set_shape(new, known)
    partial = old.meta.get("graphopt.partial")
    if partial is not None:
        new.meta["graphopt.partial"] = partial
