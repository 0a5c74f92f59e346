"""Write a plan into the model: QuantizeLinear and DequantizeLinear around values, codes in place of weights.

    x ─ Conv(w, b) ─ Relu ─ y     becomes     x ─ Q ─ DQ ─ Conv(DQ(w), DQ(b)) ─ Q ─ DQ ─ y

The clamp goes where the range of y's codes says the same. Codes of the bias are int32 of the scale s_x · s_w
(Jacob et al. 2018, arXiv:1712.05877, section 2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import Names, add_constant, inherit, is_read, mark, set_shape, shape_of
from graphopt.quantize.grid import Grid, from_range, store
from graphopt.quantize.plan import Plan
from graphopt.quantize.scheme import Scheme
from graphopt.quantize.units import Unit, clamp_bounds, numbers
from graphopt.quantize.weights import INT32_MAX


@dataclass
class Inserted:
    """What was written.

    Attributes:
        layers: weighted operators.
        activations: how many values became codes.
        clamps: how many Relu and Clip were left out.
    """

    layers: list[Unit] = field(default_factory=list)
    activations: int = 0
    clamps: int = 0


def insert(
    model: ir.Model,
    found: Plan,
    grids: Mapping[ir.Value, Grid],
    weights: Mapping[ir.Node, Grid],
    codes: Mapping[ir.Node, np.ndarray],
    scheme: Scheme,
    made_by: str,
) -> Inserted:
    """Change the model in place.

    Args:
        model: that the plan was made for.
        found: the plan.
        grids: of each group, by the value that stands for it.
        weights: grids of weights, by their operator.
        codes: of the weights, int32, by their operator.
        scheme: the plan's.
        made_by: name of the pass, for provenance.
    """
    return _Writer(model, found, grids, weights, codes, scheme, made_by).write()


def drop_unread(graph: ir.Graph) -> None:
    """Drop the conversions, and then the constants, that nothing reads any more."""
    for node in reversed(list(graph)):
        dead = node.op_type == "DequantizeLinear" and not is_read(node.outputs[0])
        if dead and not node.outputs[0].is_graph_output():
            graph.remove(node, safe=True)
    held = graph.initializers
    for name, value in list(held.items()):
        if not (is_read(value) or value.is_graph_output() or value.is_graph_input()):
            del held[name]


class _Writer:
    def __init__(
        self, model: ir.Model, found: Plan, grids: Mapping[ir.Value, Grid], weights: Mapping[ir.Node, Grid],
        codes: Mapping[ir.Node, np.ndarray], scheme: Scheme, made_by: str,
    ) -> None:  # fmt: skip
        self._graph, self._names, self._plan, self._grids = model.graph, Names(model), found, grids
        self._weights, self._codes, self._scheme, self._made_by = weights, codes, scheme, made_by
        self._stored: dict[tuple[ir.Value, bytes], ir.Value] = {}
        self._parameters: dict[bytes, ir.Value] = {}
        self._done = Inserted()

    def write(self) -> Inserted:
        """Weights and constants first, since they look at what feeds an operator; then the values."""
        edges = self._requantized()
        for unit in self._plan.units:
            if unit.role == "weighted":
                self._weigh(unit)
            for place in unit.constants:
                self._constant_operand(unit, place)
        for unit in self._plan.units:
            self._drop_clamps(unit)
        for value in self._plan.made:
            self._codes_of_made(value)
        for value, places in self._plan.read.items():
            self._codes_of_read(value, places)
        for unit, place in edges:
            self._round_again(unit, place)
        return self._done

    def _grid(self, value: ir.Value) -> Grid:
        return self._grids[self._plan.group[value]]

    def _weigh(self, unit: Unit) -> None:
        node, grid = unit.node, self._weights[unit.node]
        made = self._dequantize(unit.weight, self._codes[node], grid, node)
        node.replace_input_with(1, made)
        if self._scheme.bias == "int32" and unit.bias is not None and unit.adder is None:
            self._weigh_bias(unit, float(self._grid(next(unit.inputs())).scale), grid)
        self._done.layers.append(unit)

    def _weigh_bias(self, unit: Unit, fed: float, grid: Grid) -> None:
        bias = numbers(unit.bias)
        assert unit.bias is not None
        assert bias is not None
        scale = np.asarray(np.float32(fed) * grid.scale, np.float32)
        codes = np.rint(bias.reshape(-1).astype(np.float64) / scale)
        stored = np.clip(codes, -INT32_MAX, INT32_MAX).astype(np.int32)
        name = unit.bias.name or "bias"
        value = add_constant(self._graph, stored, self._names.fresh(f"{name}_quantized"))
        zero = np.zeros(scale.shape, np.int32)  # left out, it would be 0 as well, but not every compiler takes that
        made = self._node("DequantizeLinear", value, scale, zero, 0 if scale.ndim else None, name, unit.node)
        unit.node.replace_input_with(2, made)

    def _constant_operand(self, unit: Unit, place: int) -> None:
        value = unit.node.inputs[place]
        array = numbers(value)
        assert value is not None
        assert array is not None
        assert self._scheme.activations is not None
        if unit.role == "joins":
            grid = self._grid(unit.outputs[0])
        else:
            grid = from_range(float(array.min()), float(array.max()), self._scheme.activations)
        unit.node.replace_input_with(place, self._dequantize(value, grid.encode(array), grid, unit.node))

    def _dequantize(self, value: ir.Value, codes: np.ndarray, grid: Grid, reader: ir.Node) -> ir.Value:
        key = value, grid.scale.tobytes() + grid.zero.tobytes() + grid.codes.dtype.encode()
        name = value.name or "constant"
        if key not in self._stored:
            tensor = store(codes, grid.codes)
            self._stored[key] = add_constant(self._graph, _tensor(tensor, grid), self._names.fresh(f"{name}_quantized"))
            set_shape(self._stored[key], ir.Shape(codes.shape))
        zero = store(grid.zero, grid.codes)
        return self._node("DequantizeLinear", self._stored[key], grid.scale, zero, grid.axis, name, reader)

    def _drop_clamps(self, unit: Unit) -> None:
        """A clamp that the ends of the codes' range imply computes nothing."""
        if not unit.clamps or unit.outputs[0] not in self._plan.group:
            return
        grid = self._grid(unit.outputs[0])
        least, most = grid.codes.limits
        for node in unit.clamps:
            low, high = (np.float32(bound) for bound in clamp_bounds(node))
            ends = grid.encode(np.array([max(low, -3e38), min(high, 3e38)]))
            if ends[0] != least or ends[1] != most:
                return
        out, source = unit.outputs[0], unit.clamps[0].inputs[0]
        assert source is not None
        if source.is_graph_input():
            return
        self._done.clamps += len(unit.clamps)
        self._plan.group[source] = self._plan.group.pop(out)
        self._plan.made[self._plan.made.index(out)] = source
        named = out.is_graph_output()
        inherit(out, source)
        out.replace_all_uses_with(source, replace_graph_outputs=True)
        self._graph.remove(reversed(unit.clamps), safe=True)
        if named:  # the name of a graph output is the user's
            name, source.name = source.name, None
            out.name, source.name, source.shape = self._names.fresh(f"{name}_clamped"), out.name, out.shape
        unit.clamps.clear()

    def _codes_of_made(self, value: ir.Value) -> None:
        grid, name = self._grid(value), value.name or "value"
        producer = value.producer()
        assert producer is not None
        codes = self._quantize(value, grid, name, producer, after=producer)
        made = self._node(
            "DequantizeLinear", codes, grid.scale, store(grid.zero, grid.codes), None, name, producer,
            after=codes.producer(),
        )  # fmt: skip
        quantizer = codes.producer()
        assert quantizer is not None
        if value.is_graph_output():
            value.name = None
            made.name, made.shape, made.type = name, value.shape, value.type
            value.replace_all_uses_with(made, replace_graph_outputs=True)
            value.name = self._names.fresh(f"{name}_float")
        else:
            value.replace_all_uses_with(made)
        quantizer.replace_input_with(0, value)
        self._done.activations += 1

    def _codes_of_read(self, value: ir.Value, places: list[tuple[ir.Node, int]]) -> None:
        grid, name, producer = self._grid(value), value.name or "value", value.producer()
        codes = self._quantize(value, grid, name, places[0][0], after=producer)
        zero = store(grid.zero, grid.codes)
        made = self._node(
            "DequantizeLinear", codes, grid.scale, zero, None, name, places[0][0], after=codes.producer()
        )  # fmt: skip
        for node, place in places:
            node.replace_input_with(place, made)
        self._done.activations += 1

    def _requantized(self) -> list[tuple[Unit, int]]:
        """Operands that meet others under one scale, and have a prescribed one of their own."""
        return [
            (unit, place)
            for unit in self._plan.units
            if unit.role == "joins"
            for place in unit.data
            if not self._grid(unit.node.inputs[place]).same(self._grid(unit.outputs[0]))  # type: ignore[arg-type]
        ]

    def _round_again(self, unit: Unit, place: int) -> None:
        value = unit.node.inputs[place]
        out = next(reader for reader in unit.outputs[0].uses())
        assert value is not None
        scale, zero = out.node.inputs[1:3]
        assert scale is not None
        assert zero is not None
        name = value.name or "value"
        quantizer = ir.node("QuantizeLinear", [value, scale, zero], name=self._names.fresh(f"{name}_requantize"))
        back = ir.node(
            "DequantizeLinear", [quantizer.outputs[0], scale, zero], name=self._names.fresh(f"{name}_redequantize")
        )
        quantizer.outputs[0].name = self._names.fresh(f"{name}_recoded")
        back.outputs[0].name = self._names.fresh(f"{name}_rounded")
        self._graph.insert_before(unit.node, [quantizer, back])
        mark([quantizer, back], self._made_by, [unit.node])
        self._known(quantizer.outputs[0], zero.dtype, value)
        self._known(back.outputs[0], value.dtype, value)
        unit.node.replace_input_with(place, back.outputs[0])

    def _quantize(self, value: ir.Value, grid: Grid, name: str, source: ir.Node, after: ir.Node | None) -> ir.Value:
        zero = store(grid.zero, grid.codes)
        return self._node("QuantizeLinear", value, grid.scale, zero, None, name, source, after=after, first=True)

    def _node(
        self, op_type: str, value: ir.Value, scale: np.ndarray, zero: np.ndarray, axis: int | None, name: str,
        source: ir.Node, *, after: ir.Node | None = None, first: bool = False,
    ) -> ir.Value:  # fmt: skip
        """A conversion: behind a node, at the head of the graph, or before the node that reads it."""
        word = "quantize" if op_type == "QuantizeLinear" else "dequantize"
        stem = self._names.fresh(f"{name}_{word}")
        inputs = [
            value,
            self._shared(np.asarray(scale, np.float32), f"{name}_scale"),
            self._shared(np.asarray(zero), f"{name}_zero"),
        ]
        node = ir.node(op_type, inputs, {} if axis is None else {"axis": axis}, name=stem)
        node.outputs[0].name = self._names.fresh(f"{name}_{'codes' if word == 'quantize' else 'dequantized'}")
        if after is not None:
            self._graph.insert_after(after, [node])
        elif first:
            head = next(iter(self._graph))
            self._graph.insert_before(head, [node])
        else:
            self._graph.insert_before(source, [node])
        mark([node], self._made_by, [source])
        dtype = inputs[-1].dtype if word == "quantize" else ir.DataType.FLOAT
        self._known(node.outputs[0], dtype, value)
        return node.outputs[0]

    def _shared(self, array: np.ndarray, name: str) -> ir.Value:
        """One constant for all scales, or zero points, that are equal: most conversions come in pairs."""
        key = array.dtype.name.encode() + bytes(str(array.shape), "ascii") + array.tobytes()
        if key not in self._parameters:
            self._parameters[key] = add_constant(self._graph, _typed(array), self._names.fresh(name))
        return self._parameters[key]

    @staticmethod
    def _known(value: ir.Value, dtype: ir.DataType | None, like: ir.Value) -> None:
        value.type = ir.TensorType(dtype) if dtype is not None else None
        shape = shape_of(like)
        if shape is not None:
            set_shape(value, shape)


def _typed(array: np.ndarray) -> ir.TensorProtocol:
    return ir.Tensor(np.ascontiguousarray(array).reshape(array.shape))


def _tensor(array: np.ndarray, grid: Grid) -> ir.TensorProtocol:
    return ir.Tensor(np.ascontiguousarray(array), dtype=ir.DataType[grid.codes.dtype.upper()])
