"""Run a model piece by piece on a few samples, so that each node runs once though weights change between pieces.

Between two pieces only the values that later nodes read are held, for all samples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from graphopt.channels.graph import Shapes
from graphopt.ir.edit import bodies, constant
from graphopt.verify import Runner
from graphopt.verify.types import Array

_KEPT_OPSET = 26
"""The newest operator set that is handed to the runtime as it is."""


class Stepper:
    """A model that runs up to any of its nodes and waits there.

    Args:
        model: its main graph is run; weights may be changed for nodes that have not run.
        samples: inputs by name.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Mapping[str, Array]]) -> None:
        self._model = model
        self._nodes = list(model.graph)
        self._place = {node: place for place, node in enumerate(self._nodes)}
        self._done = 0
        self._last: dict[ir.Value, int] = {}
        for place, node in enumerate(self._nodes):
            self._last.update(dict.fromkeys(_reads(node), place))
        self._last.update(dict.fromkeys(model.graph.outputs, len(self._nodes)))
        names = {value.name: value for value in model.graph.inputs}
        self._held: list[dict[ir.Value, Array]] = [
            {names[name]: array for name, array in sample.items() if name in names} for sample in samples
        ]

    def has(self, value: ir.Value) -> bool:
        """Whether a value is available now."""
        return bool(self._held) and value in self._held[0]

    def values(self, value: ir.Value) -> list[Array]:
        """An available value, one array a sample."""
        return [held[value] for held in self._held]

    def run_to(self, node: ir.Node | None, *, through: bool = False) -> None:
        """Run all nodes before a node (and that one, where asked); to the end, where it is None."""
        end = len(self._nodes) if node is None else self._place[node] + through
        if end <= self._done:
            return
        piece = self._nodes[self._done : end]
        made = {value for one in piece for value in one.outputs}
        asked = list(dict.fromkeys(value for one in piece for value in _reads(one) if value not in made))
        fed = [value for value in asked if self.has(value)]
        weights = [value for value in asked if not self.has(value) and constant(value) is not None]
        wanted = [value for one in piece for value in one.outputs if value.name and self._last.get(value, -1) >= end]
        runner = Runner(_piece(self._model, piece, fed, weights, wanted, self._held[0])) if wanted else None
        for held in self._held:
            if runner is not None:
                result = runner.run({value.name or "": held[value] for value in fed})
                held.update({value: result[value.name] for value in wanted if value.name in result})
            for value in [one for one in held if self._last.get(one, -1) < end]:
                del held[value]
        self._done = end


def held_bytes(model: ir.Model, shapes: Shapes) -> int:
    """The most that a stepper holds of one sample between two nodes, were it all single precision."""
    nodes = list(model.graph)
    last = {value: place for place, node in enumerate(nodes) for value in _reads(node)}
    ending: dict[int, int] = defaultdict(int)
    now = most = 0
    for place, node in enumerate(nodes):
        for value in node.outputs:
            size = 4 * math.prod(shapes.get(value, ()))
            now += size
            ending[last.get(value, place)] += size
        most = max(most, now)
        now -= ending.pop(place, 0)
    return most


def _reads(node: ir.Node) -> list[ir.Value]:
    """What a node reads, its bodies included."""
    found = [value for value in node.inputs if value is not None]
    for body in bodies(node):
        inside = set(body.inputs) | set(body.initializers.values())
        for one in body:
            found.extend(value for value in _reads(one) if value not in inside)
            inside.update(one.outputs)
        found.extend(value for value in body.outputs if value not in inside)
    return found


def _piece(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    fed: Sequence[ir.Value],
    weights: Sequence[ir.Value],
    wanted: Sequence[ir.Value],
    example: Mapping[ir.Value, Array],
) -> bytes:
    """A model of some nodes alone, serialized."""
    import onnx

    graph = onnx.GraphProto(name="piece")
    graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    for value in fed:
        dtype = onnx.helper.np_dtype_to_tensor_dtype(example[value].dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(value.name, dtype, [None] * example[value].ndim))
    for value in weights:
        tensor = constant(value)
        assert tensor is not None
        proto = ir.serde.serialize_tensor(ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name))
        graph.initializer.append(proto)
    for value in wanted:
        graph.output.append(onnx.ValueInfoProto(name=value.name))
    for value in graph.output:
        value.type.CopyFrom(onnx.TypeProto())
    opsets = [
        onnx.helper.make_opsetid(domain, min(version, _KEPT_OPSET) if not domain else version)
        for domain, version in model.graph.opset_imports.items()
    ]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=min(model.ir_version or 10, 11))
    made.functions.extend(ir.serde.serialize_function(one) for one in model.functions.values())
    return bytes(made.SerializeToString())
