"""Computing in 16-bit floating point where the operators have it and the numbers fit.

    x ─ Conv(w) ─ y     becomes     x ─ Cast(float16) ─ Conv(w as float16) ─ Cast(float32) ─ y

Casts that undo each other are never written. An operator stays in float32 where float16 would turn a number of it into
infinity, where a constant that is not 0 would become 0 in it (as the 1e-12 that keeps a quotient finite), or where it
has no kernel of that type.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from graphopt.calibrate import TensorStats
from graphopt.ir.edit import Names, add_constant, bodies, constant, mark, opset, set_shape, shape_of
from graphopt.quantize.insert import drop_unread

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_LARGEST = 65504.0
_ROOM = 0.5
"""Share of float16's range that the samples may take: other inputs take more."""
_SMALLEST = 2.0**-24
_LEAST = 1024
_WIDE = ("Cast", "CastLike", "ConstantOfShape", "EyeLike", "Range", "RandomNormal", "RandomUniform", "CumSum")
"""Operators whose type is an attribute of theirs, or that add up more numbers than float16 has digits for."""


@dataclass(frozen=True)
class Halved:
    """How many operators compute in float16, and the names of those that could and do not, for their numbers."""

    nodes: int
    kept: tuple[str, ...]


def to_half(
    model: ir.Model, stats: Mapping[str, TensorStats], excluded: Collection[ir.Node] = (), made_by: str = "quantize"
) -> Halved:
    """Convert the main graph in place; inputs and outputs keep their types.

    Args:
        model: with types inferred.
        stats: of its float32 values, by name; what has none is trusted to fit.
        excluded: nodes that stay.
        made_by: name of the pass.
    """
    wide = {name for name, one in stats.items() if max(-one.minimum, one.maximum) > _LARGEST * _ROOM or one.nonfinite}
    able = {node: places for node in model.graph if node not in excluded and (places := _places(node)) is not None}
    kept = [node for node, places in able.items() if not _fits(node, places, wide)]
    halves = {node: places for node, places in able.items() if node not in set(kept)}
    _Writer(model, halves, made_by).write()
    drop_unread(model.graph)
    return Halved(len(halves), tuple(node.name or node.op_type for node in kept))


def _places(node: ir.Node) -> tuple[list[int], list[int]] | None:
    """Positions of the inputs and outputs that change their type together; None where the operator has no such form."""
    if node.domain not in ("", "ai.onnx") or node.op_type in _WIDE or any(True for _ in bodies(node)):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, opset(node), "")
    except onnx.defs.SchemaError:
        return None
    both = {
        one.type_param_str
        for one in schema.type_constraints
        if {"tensor(float)", "tensor(float16)"} <= set(one.allowed_type_strs)
    }
    sides = []
    for values, formal in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        places = []
        for place, value in enumerate(values):
            if value is None or value.dtype != _FLOAT:
                continue
            kind = formal[min(place, len(formal) - 1)].type_str
            if kind not in both:
                # An input that is always float32 stays so; a result that is would not fit what reads it.
                if values is node.outputs:
                    return None
                continue
            places.append(place)
        sides.append(places)
    return (sides[0], sides[1]) if sides[0] and sides[1] else None


def _fits(node: ir.Node, places: tuple[list[int], list[int]], wide: Collection[str]) -> bool:
    values = [*(node.inputs[i] for i in places[0]), *(node.outputs[i] for i in places[1])]
    for value in values:
        tensor = constant(value)
        if tensor is None:
            if value is not None and value.name in wide:
                return False
            continue
        sizes = np.abs(tensor.numpy())
        # One weight of many that becomes 0 changes nothing; a number that stands by itself was put there for a reason.
        lost = (sizes > 0) & (sizes < _SMALLEST)
        if sizes.max(initial=0.0) > _LARGEST or (lost.any() and sizes.size <= 16):
            return False
    return True


class _Writer:
    def __init__(self, model: ir.Model, halves: Mapping[ir.Node, tuple[list[int], list[int]]], made_by: str) -> None:
        self._graph, self._halves, self._made_by = model.graph, halves, made_by
        self._names = Names(model)
        self._half: dict[ir.Value, ir.Value] = {}

    def write(self) -> None:
        """Outputs first: what a converted operator writes is in float16 from then on, and others read it cast back."""
        for node, (_, places) in self._halves.items():
            for place in places:
                self._turn(node, node.outputs[place])
        for node, (places, _) in self._halves.items():
            for place in places:
                value = node.inputs[place]
                assert value is not None
                node.replace_input_with(place, self._as_half(value, node))

    def _turn(self, node: ir.Node, value: ir.Value) -> None:
        others = [use for use in value.uses() if use.idx not in self._halves.get(use.node, ([],))[0]]
        name = value.name or "value"
        if value.is_graph_output() or others:
            back = self._cast(value, _FLOAT, f"{name}_float", node, after=node)
            for use in others:
                use.node.replace_input_with(use.idx, back)
            if value.is_graph_output():
                self._take_name(value, back)
        value.type = ir.TensorType(_HALF)
        self._half[value] = value

    def _take_name(self, value: ir.Value, back: ir.Value) -> None:
        """The name of a graph output is the user's."""
        place = next(i for i, one in enumerate(self._graph.outputs) if one is value)
        name = value.name
        self._graph.outputs[place] = back
        value.name = None
        back.name, back.type, back.shape = name, ir.TensorType(_FLOAT), value.shape
        value.name = self._names.fresh(f"{name}_half")

    def _as_half(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        if value in self._half:
            return self._half[value]
        tensor, name = constant(value), f"{value.name}_half"
        if tensor is not None:
            array = np.asarray(np.clip(tensor.numpy(), -_LARGEST, _LARGEST), np.float16)
            made = add_constant(self._graph, array, self._names.fresh(name))
        else:
            made = self._cast(value, _HALF, name, reader, after=value.producer())
        self._half[value] = made
        return made

    def _cast(self, value: ir.Value, to: ir.DataType, name: str, source: ir.Node, after: ir.Node | None) -> ir.Value:
        node = ir.node("Cast", [value], {"to": int(to)}, name=self._names.fresh(f"{name}_cast"))
        node.outputs[0].name, node.outputs[0].type = self._names.fresh(name), ir.TensorType(to)
        shape = shape_of(value)
        if shape is not None:
            set_shape(node.outputs[0], shape)
        if after is not None:
            self._graph.insert_after(after, [node])
        else:
            self._graph.insert_before(next(iter(self._graph)), [node])
        mark([node], self._made_by, [source])
        return node.outputs[0]


def store_bfloat16(model: ir.Model, excluded: Collection[ir.Node] = (), made_by: str = "quantize") -> int:
    """Store the weights of the main graph in bfloat16, in place, and compute in float32 as before.

    Returns:
        How many weights. Those of fewer than 1024 elements stay as they are.
    """
    graph, names, count = model.graph, Names(model), 0
    for value in list(graph.initializers.values()):
        tensor = constant(value)
        uses = [use for use in value.uses() if use.node not in excluded]
        if tensor is None or tensor.dtype != _FLOAT or tensor.size < _LEAST or not uses:
            continue
        array = tensor.numpy().astype(ir.DataType.BFLOAT16.numpy())
        made = add_constant(graph, ir.Tensor(array, dtype=ir.DataType.BFLOAT16), names.fresh(f"{value.name}_bfloat16"))
        cast = ir.node("Cast", [made], {"to": int(_FLOAT)}, name=names.fresh(f"{value.name}_cast"))
        cast.outputs[0].name, cast.outputs[0].type = names.fresh(f"{value.name}_float"), ir.TensorType(_FLOAT)
        set_shape(cast.outputs[0], ir.Shape(array.shape))
        graph.insert_before(next(iter(graph)), [cast])
        mark([cast], made_by, [uses[0].node])
        for use in uses:
            use.node.replace_input_with(use.idx, cast.outputs[0])
        count += 1
    drop_unread(graph)
    return count
