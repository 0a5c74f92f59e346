"""Weight-only quantization: codes and a DequantizeLinear in place of weights; activations stay in float.

    w     becomes     DequantizeLinear(codes of w, scales)

One scale for each output channel, for each row of a table, or for each block of weights along the reduced axis
(DequantizeLinear with block_size, opset 21).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import Layer, Moment, layer_of
from graphopt.ir.edit import Names, add_constant, mark, nodes_of, set_shape
from graphopt.quantize.grid import Grid, of_weights, store
from graphopt.quantize.insert import drop_unread
from graphopt.quantize.methods.rounding import round_weights, weight_scales
from graphopt.quantize.scheme import Codes, Scheme
from graphopt.quantize.units import numbers, weight_axis

_LEAST = 1024
"""Elements below which a weight is not worth a scale."""
_PLACES: Mapping[str, tuple[int, ...]] = {"Gather": (0,), "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2)}
"""Which inputs are weights, for operators where it is not the second alone."""
Moments = Callable[[Collection[str]], Iterator[tuple[str, Moment]]]


@dataclass(frozen=True)
class Stored:
    """What was quantized: how many weights, and their bytes before and after, scales included."""

    weights: int
    before: int
    after: int


def quantize_weights(
    model: ir.Model,
    scheme: Scheme,
    *,
    only: Collection[str] = (),
    excluded: Collection[ir.Node] = (),
    moments: Moments | None = None,
    made_by: str = "quantize",
) -> Stored:
    """Store weights as codes, in place, also in bodies of control flow.

    Args:
        model: with shapes inferred.
        scheme: the codes, and for which operators.
        only: of these operators alone; of all of the scheme where empty.
        excluded: nodes whose weights stay as they are.
        moments: of what layers read, by their names, in the order of the graph (see `calibrate.each_moment`); where
            given, scales and codes make the least error of the layers' results.
        made_by: name of the pass.
    """
    chosen = set(only or scheme.weighted) & set(scheme.weighted)
    nodes = [n for n in nodes_of(model.graph) if n.op_type in chosen and n.domain in ("", "ai.onnx")]
    nodes = [node for node in nodes if node not in excluded]
    layers = [layer.name for node in nodes if node.graph is model.graph and (layer := layer_of(node)) is not None]
    writer = _Writer(model, scheme, made_by, _Read(layers, moments(layers)) if moments is not None else None)
    for node in nodes:
        for place in _PLACES.get(node.op_type, (1,)):
            writer.store(node, place)
    drop_unread(model.graph)
    return Stored(writer.count, writer.before, writer.after)


class _Read:
    """Moments that come one after the other, asked for in the same order."""

    def __init__(self, names: Collection[str], found: Iterator[tuple[str, Moment]]) -> None:
        self._names, self._found = set(names), found

    def of(self, name: str) -> Moment | None:
        return next((moment for key, moment in self._found if key == name), None) if name in self._names else None


class _Writer:
    def __init__(self, model: ir.Model, scheme: Scheme, made_by: str, moments: _Read | None) -> None:
        self._model, self._scheme, self._made_by, self._names = model, scheme, made_by, Names(model)
        self._moments = moments
        self._made: dict[tuple[ir.Value, int | None, int], ir.Value] = {}
        self.count = self.before = self.after = 0

    def store(self, node: ir.Node, place: int) -> None:
        """Put codes in place of one input of a node, where it is a weight worth it."""
        value = node.inputs[place] if place < len(node.inputs) else None
        array = numbers(value)
        if value is None or array is None or array.ndim < 2 or array.size < _LEAST:
            return
        axis, reduced = self._axes(node, value, array)
        block = self._block(array, reduced) if reduced is not None else 0
        key = value, axis, block
        if key not in self._made:
            self._made[key] = self._write(node, value, array, axis, reduced, block)
        node.replace_input_with(place, self._made[key])

    def _axes(self, node: ir.Node, value: ir.Value, array: np.ndarray) -> tuple[int | None, int | None]:
        """The axis of the scales, and the one that products are summed over where blocks may lie along it."""
        if self._scheme.weighted[node.op_type] == "tensor":
            return None, None
        if node.op_type == "Gather":
            rows = node.attributes.get_int("axis", 0) % array.ndim
            return rows, array.ndim - 1 if rows == 0 and array.ndim == 2 else None
        if node.op_type in ("LSTM", "GRU", "RNN"):
            return (1, None) if array.shape[0] == 1 else (None, None)
        axis = weight_axis(node, value)
        blocks = node.op_type in ("Gemm", "MatMul") and array.ndim == 2 and axis is not None
        return axis, (1 - axis if blocks and axis is not None else None)

    def _block(self, array: np.ndarray, reduced: int) -> int:
        block = self._scheme.block
        return block if block and array.shape[reduced] % block == 0 else 0

    def _write(
        self, node: ir.Node, value: ir.Value, array: np.ndarray, axis: int | None, reduced: int | None, block: int
    ) -> ir.Value:
        kind = self._scheme.weights
        layer = layer_of(node) if node.graph is self._model.graph else None
        moment = self._moments.of(layer.name) if layer is not None and self._moments is not None else None
        attributes: dict[str, int]
        if block and reduced is not None:
            scale, full = _block_scales(array, kind, reduced, block)
            codes = self._rounded(layer, moment, array, Grid(kind, full, np.zeros(full.shape, np.int32)))
            attributes = {"axis": reduced, "block_size": block}
        else:
            grid = of_weights(array, kind, axis)
            if axis is not None and layer is not None and moment is not None:
                fitting = weight_scales(layer.matrix(array), moment, kind.limits[1])
                grid = replace(grid, scale=fitting.astype(np.float32))
            scale, attributes = grid.scale, {"axis": axis} if axis is not None else {}
            codes = self._rounded(layer, moment, array, grid)
        graph, name = self._model.graph, value.name or "weight"
        stored = ir.Tensor(np.ascontiguousarray(store(codes, kind)), dtype=ir.DataType[kind.dtype.upper()])
        inputs = [
            add_constant(graph, stored, self._names.fresh(f"{name}_quantized")),
            add_constant(graph, np.asarray(scale, np.float32), self._names.fresh(f"{name}_scale")),
            # Left out, it would be 0 as well, but not every compiler takes that.
            add_constant(graph, _zeros(np.shape(scale), kind), self._names.fresh(f"{name}_zero")),
        ]
        made = ir.node("DequantizeLinear", inputs, attributes, name=self._names.fresh(f"{name}_dequantize"))
        made.outputs[0].name = self._names.fresh(f"{name}_dequantized")
        made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        set_shape(made.outputs[0], ir.Shape(array.shape))
        graph.insert_before(next(iter(graph)), [made])
        mark([made], self._made_by, [node])
        self.count += 1
        self.before += array.nbytes
        self.after += codes.size * kind.bits // 8 + np.asarray(scale).nbytes
        return made.outputs[0]

    @staticmethod
    def _rounded(layer: Layer | None, moment: Moment | None, array: np.ndarray, grid: Grid) -> np.ndarray:
        if layer is None or moment is None:
            return grid.encode(array)
        return round_weights(array, grid.scale, 0, grid.axis, *grid.codes.limits, moment, layer)


def _zeros(shape: tuple[int, ...], kind: Codes) -> ir.TensorProtocol:
    return ir.Tensor(store(np.zeros(shape, np.int32), kind), dtype=ir.DataType[kind.dtype.upper()])


def _block_scales(array: np.ndarray, kind: Codes, reduced: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales by block as DequantizeLinear takes them, and spread over the weights."""
    shape = list(array.shape)
    shape[reduced : reduced + 1] = [shape[reduced] // block, block]
    peaks = np.abs(array.reshape(shape)).max(axis=reduced + 1)
    scale = np.maximum(peaks / kind.limits[1], np.float32(1e-12)).astype(np.float32)
    return scale, np.repeat(scale, block, axis=reduced)
