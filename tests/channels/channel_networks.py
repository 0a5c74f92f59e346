"""Small networks, one for each way in which channels can be coupled, and the zeroed original of a pruned one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from graphopt.channels.build import channel_graph, is_weight, sizes
from graphopt.channels.cut import Cut
from graphopt.channels.graph import ChannelGraph
from graphopt.channels.groups import Family, families
from graphopt.ir.edit import constant, nodes_of
from graphopt.verify import concrete_shapes


class Net:
    """Writes a network node by node; weights are drawn from a seed."""

    def __init__(self, rng: np.random.Generator, *shape: int | str, dtype: int = TensorProto.FLOAT) -> None:
        self.rng = rng
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", dtype, list(shape))]

    def pick(self, *choices: int) -> int:
        """One of some numbers."""
        return int(self.rng.choice(choices))

    def weight(self, *shape: int) -> str:
        """A random constant, away from zero so that it may divide."""
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def positive(self, *shape: int) -> str:
        """A random constant above zero."""
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def constant(self, array: Any) -> str:
        """A constant; lists are of int64."""
        content = np.asarray(array, np.int64) if isinstance(array, list) else np.asarray(array)
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(content, name))
        return name

    def __call__(self, op: str, *inputs: str, outs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or their names."""
        names = [f"v{len(self.nodes)}_{place}" for place in range(outs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0] if outs == 1 else names

    def conv(self, x: str, ins: int, outs: int, kernel: int = 1, group: int = 1) -> str:
        """A convolution that keeps the size."""
        w = self.weight(outs, ins // group, kernel, kernel)
        return str(self("Conv", x, w, self.weight(outs), group=group, pads=[kernel // 2] * 4))

    def linear(self, x: str, ins: int, outs: int) -> str:
        """A MatMul and a bias."""
        return str(self("Add", self("MatMul", x, self.weight(ins, outs)), self.weight(outs)))

    def model(self, *outputs: str, opset: int = 21) -> ir.Model:
        """The model, checked."""
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.initializers)
        domains = [("", opset), *((one, 1) for one in {node.domain for node in self.nodes} if one)]
        opsets = [helper.make_opsetid(*one) for one in domains]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        proto = onnx.shape_inference.infer_shapes(proto)
        return ir.serde.deserialize_model(proto)


Build = Callable[[np.random.Generator], ir.Model]


def analyzed(model: ir.Model) -> tuple[ChannelGraph, list[Family]]:
    """The channel graph of a model and its families."""
    graph = channel_graph(model, sizes(model, concrete_shapes(model)))
    return graph, families(graph)


def zeroed(model: ir.Model, graph: ChannelGraph, gone: np.ndarray) -> ir.Model:
    """A copy of a model in which the weights of entries that leave are zero."""
    copy = model.clone()
    mine = {value.name: value for value in _constants(model)}
    for value in _constants(copy):
        old = mine[value.name]
        if not is_weight(old) or _divides(old):
            continue
        tensor = constant(old)
        assert tensor is not None
        array = tensor.numpy().copy()
        for axis in graph.axes_of(old):
            assert isinstance(axis.index, int)
            array[(slice(None),) * axis.index + (gone[axis.start : axis.start + axis.size],)] = 0
        value.const_value = ir.Tensor(array, dtype=tensor.dtype, name=value.name)
    return copy


def _constants(model: ir.Model) -> list[ir.Value]:
    found = list(model.graph.initializers.values())
    for node in nodes_of(model.graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                found += list(attribute.value.initializers.values())
    return found


def _divides(value: ir.Value) -> bool:
    scales = ("Div", "QuantizeLinear", "DequantizeLinear")
    return any(use.node.op_type in scales and use.idx > 0 for use in value.uses())


def removal(graph: ChannelGraph, chosen: list[Family], rng: np.random.Generator) -> np.ndarray:
    """Some units of each family, never all."""
    gone = np.zeros(graph.count, bool)
    for family in chosen:
        count = int(rng.integers(1, max(2, len(family.units) // 2 + 1)))
        for unit in rng.permutation(len(family.units))[:count]:
            gone[family.units[unit].cells] = True
    return gone


def cut(model: ir.Model, graph: ChannelGraph, gone: np.ndarray) -> ir.Model:
    """The model with entries taken out."""
    Cut(model, graph, gone, "test").run()
    return model
