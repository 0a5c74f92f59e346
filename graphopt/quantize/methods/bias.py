"""Bias correction: take the mean of a quantized layer's error away by its bias, which costs nothing at run time.

empirical    Δb = E[y] - E[ŷ] for each channel, over samples, layer after layer: ŷ is what the layer makes of what the
             corrected layers before it make (Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix D)
analytic     Δb = (W - Ŵ) E[x], from the mean of what the layer reads, without running the quantized model (eq. 17)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import BUDGET, Layer, Moment, Samples, layers_of, observe, stepped
from graphopt.calibrate.means import channel_sum
from graphopt.ir import constant
from graphopt.ir.edit import Names, add_constant, mark, readers
from graphopt.ir.schema import attribute
from graphopt.quantize.twins import Twins

Doubles = np.ndarray

SAMPLES = 16
"""Samples that means are taken of, at most: they are held between two layers."""
_FEWEST = 4


def analytic_shift(layer: Layer, weight: np.ndarray, rounded: np.ndarray, moment: Moment) -> Doubles:
    """What to add to the bias so that rounding the weight does not move the mean of the output.

    Args:
        layer: the layer.
        weight: as it was.
        rounded: what its codes stand for.
        moment: of what the layer reads.

    Returns:
        (output channels,).
    """
    delta = moment.split(layer.matrix(np.asarray(weight, np.float64) - rounded))
    shift = np.einsum("gow,gw->go", delta, moment.mean.astype(np.float64))
    total: Doubles = shift.reshape(layer.groups, moment.blocks, -1).sum(1).reshape(-1)
    return total


def correct_biases(
    reference: ir.Model,
    quantized: ir.Model,
    samples: Samples,
    *,
    budget: int = BUDGET,
    most: int = SAMPLES,
    known: dict[str, Doubles] | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Correct the biases of a quantized model, in place, from its first layer to its last.

    Corrected are layers whose bias is float or of at least 32 bits, or that can be given one. The shift of a channel
    is shrunk as far as it differs from sample to sample, since then it is no shift.

    Args:
        reference: the float model, in which the layers' outputs, or the layers themselves, have the same names.
        quantized: the model with QuantizeLinear and DequantizeLinear placed.
        samples: the inputs, by name.
        budget: bytes of values held at a time.
        most: how many samples are used at most; fewer where the budget asks for it, never fewer than 4.
        known: where the means of the float model are kept, for other calls with the same model and samples.
        tell: progress, layers done and layers in all.

    Returns:
        For each layer that was corrected, by its output in the reference, the largest shift of a channel.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: one of the models does not run.
    """
    found = list(_corrected(reference, quantized))
    if not found:
        return {}
    few = list(itertools.islice(samples() if callable(samples) else samples, _affordable(found, budget, most)))
    wanted = {} if known is None else known
    axes = {place.reference: place.axis for place in found if place.reference not in wanted}
    wanted.update(_sample_means(reference, axes, few, budget) if axes else {})
    places = {place.output: place for place in found}
    names, shifts = Names(quantized), {}
    for number, (output, arrays) in enumerate(stepped(quantized, list(places), few)):
        place = places[output]
        if place.reference in wanted:
            errors = wanted[place.reference] - np.stack([_means(array, place.axis) for array in arrays])
            moved = place.shift(_shrunk(errors), names)
            for index, array in enumerate(arrays):
                arrays[index] = _shifted(array, moved, place.axis)
            shifts[place.reference] = float(np.abs(moved).max(initial=0.0))
        if tell is not None:
            tell(number + 1, len(places))
    return shifts


@dataclass
class _Place:
    """A bias that can be moved.

    Attributes:
        layer: whose it is, in the quantized model.
        node: what adds it: the layer's node, or the Add behind a MatMul.
        index: which input of that node it is.
        output: what is corrected, in the quantized model.
        reference: the same in the float model.
        axis: of its channels.
    """

    layer: Layer
    node: ir.Node
    index: int
    output: str
    reference: str
    axis: int

    def shift(self, delta: Doubles, names: Names) -> Doubles:
        """Add to the bias and say what was really added; codes move by whole steps."""
        graph = self.node.graph
        assert isinstance(graph, ir.Graph)
        value = self.node.inputs[self.index] if self.index < len(self.node.inputs) else None
        if value is None:
            return self._made(graph, delta, names)
        producer = value.producer()
        stored = producer.inputs[0] if producer is not None and producer.op_type == "DequantizeLinear" else value
        tensor = constant(stored)
        assert tensor is not None  # `_movable` has seen it
        array = tensor.numpy()
        if producer is None or stored is value:
            fresh = (array.astype(np.float64).reshape(-1) + delta).reshape(array.shape).astype(array.dtype)
            self.node.replace_input_with(self.index, add_constant(graph, fresh, names.fresh(f"{self.output}_bias")))
            return delta
        step = _scale(producer)
        codes = _saturated(array.astype(np.float64) + np.rint(delta / step).reshape(array.shape), array.dtype)
        moved: Doubles = (codes.astype(np.float64) - array.astype(np.float64)).reshape(-1) * step
        made = _dequantized(graph, codes, producer.inputs[1], producer, names, self.output)
        self.node.replace_input_with(self.index, made)
        return moved

    def _made(self, graph: ir.Graph, delta: Doubles, names: Names) -> Doubles:
        """Give a layer without a bias one: int32 with the scale of its products where these are of codes."""
        sources = [value.producer() for value in (self.layer.input, self.layer.weight)]
        scales = [_scale(node) for node in sources if node is not None and node.op_type == "DequantizeLinear"]
        if len(scales) < 2 or scales[0].size != 1:
            value = add_constant(graph, delta.astype(np.float32), names.fresh(f"{self.output}_bias"))
            _give(self.node, self.index, value)
            return delta
        step = np.broadcast_to((scales[0] * scales[1]).astype(np.float32), delta.shape)
        codes = _saturated(np.rint(delta / step), np.dtype(np.int32))
        scale = add_constant(graph, np.array(step), names.fresh(f"{self.output}_bias_scale"))
        _give(self.node, self.index, _dequantized(graph, codes, scale, self.node, names, self.output))
        return codes * step.astype(np.float64)


def _give(node: ir.Node, index: int, value: ir.Value) -> None:
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


def _dequantized(
    graph: ir.Graph, codes: np.ndarray, scale: ir.Value | None, source: ir.Node, names: Names, stem: str
) -> ir.Value:
    stored = add_constant(graph, codes, names.fresh(f"{stem}_bias_codes"))
    given = dict(source.attributes) if source.op_type == "DequantizeLinear" else {}
    if source.op_type == "DequantizeLinear":
        inputs = [stored, scale, *source.inputs[2:]]
    else:  # left out, the zero point would be 0 as well, but not every compiler takes that
        inputs = [stored, scale, add_constant(graph, np.zeros_like(codes), names.fresh(f"{stem}_bias_zero"))]
    attributes = list(given.values()) or ([ir.AttrInt64("axis", 0)] if codes.ndim else [])
    node = ir.Node("", "DequantizeLinear", inputs, attributes, name=names.fresh(f"{stem}_bias_dequantize"))
    node.outputs[0].name = names.fresh(f"{stem}_bias_dequantized")
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape(codes.shape)
    mark([node], "quantize", [source])
    reader = source if source.op_type != "DequantizeLinear" else next(readers(source.outputs[0]))
    graph.insert_before(reader, node)
    return node.outputs[0]


def _saturated(codes: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    # float64 holds no larger int64 exactly, and no bias comes near it
    limit = float(np.iinfo(dtype).max) if dtype.itemsize <= 4 else 2.0**53
    kept: np.ndarray = np.clip(codes, -limit, limit).astype(dtype)
    return kept


def _corrected(reference: ir.Model, quantized: ir.Model) -> Iterator[_Place]:
    twins = Twins(reference)
    for layer in layers_of(quantized):
        node, index = layer.node, 2
        if node.op_type == "MatMul":
            adder = _adder(layer)
            if adder is None:
                continue
            node, index = adder
        if not _movable(layer, node, index):
            continue
        same = twins.find(node)
        if same:
            yield _Place(layer, node, index, node.outputs[0].name or "", same, layer.channel_axis)


def _adder(layer: Layer) -> tuple[ir.Node, int] | None:
    """The Add of a constant that alone reads a MatMul, and which operand the constant is."""
    found = list(itertools.islice(readers(layer.node.outputs[0]), 2))
    if len(found) != 1 or found[0].op_type != "Add" or layer.node.outputs[0].is_graph_output():
        return None
    return found[0], 1 if found[0].inputs[0] is layer.node.outputs[0] else 0


def _movable(layer: Layer, node: ir.Node, index: int) -> bool:
    """Whether a bias is one number a channel, and fine enough to be moved."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if node.op_type == "Gemm" and attribute(node, "beta") != 1:
        return False
    if value is None:
        return node.op_type != "Add"
    producer = value.producer()
    coded = producer is not None and producer.op_type == "DequantizeLinear"
    tensor = constant(producer.inputs[0] if coded and producer is not None else value)
    if tensor is None or tensor.shape.rank() == 0:
        return False
    if coded and producer is not None and constant(producer.inputs[1]) is None:
        return False
    fine = (ir.DataType.INT32, ir.DataType.INT64) if coded else (ir.DataType.FLOAT, ir.DataType.DOUBLE)
    return tensor.dtype in fine and tensor.size == layer.outputs == tensor.shape.numpy()[-1]


def _scale(node: ir.Node) -> Doubles:
    """The scale of a DequantizeLinear, (1,) or one a channel."""
    tensor = constant(node.inputs[1])
    return np.ones(0) if tensor is None else tensor.numpy().astype(np.float64).reshape(-1)


def _affordable(found: list[_Place], budget: int, most: int) -> int:
    """How many samples fit the budget while they are held between layers: by the sizes of the corrected outputs."""
    sizes = [place.layer.node.outputs[0].shape for place in found]
    known = [math.prod(shape.numpy()) for shape in sizes if shape is not None and shape.is_static()]
    # Beside the output itself, what a residual branch keeps; four of the largest is more than the corpus needs.
    held = 4 * 4 * max(known, default=1)
    return max(_FEWEST, min(most, budget // max(held, 1)))


def _sample_means(
    model: ir.Model, axes: Mapping[str, int], samples: list[Mapping[str, np.ndarray]], budget: int
) -> dict[str, Doubles]:
    """Per-channel means of each sample, (samples, channels), by value."""
    rows: dict[str, list[Doubles]] = {}

    def take(name: str, array: np.ndarray, _: int) -> None:
        rows.setdefault(name, []).append(_means(array, axes[name]))

    observe(model, list(axes), samples, take, budget=budget)
    return {name: np.stack(found) for name, found in rows.items()}


def _means(array: np.ndarray, axis: int) -> Doubles:
    total, count = channel_sum(array, axis)
    return total / count


def _shrunk(errors: Doubles) -> Doubles:
    """The mean over samples (samples, channels), times 1 - σ²/(n·mean²) where that is positive, else 0.

    The factor is the positive-part James-Stein estimate of how much of the mean is not chance.
    """
    mean = errors.mean(0)
    if len(errors) < 2 or not np.isfinite(errors).all():
        return np.where(np.isfinite(mean), mean, 0.0)
    chance = errors.var(0, ddof=1) / len(errors)
    shrunk: Doubles = mean * np.clip(1 - chance / np.maximum(mean**2, 1e-300), 0, 1)
    return shrunk


def _shifted(array: np.ndarray, delta: Doubles, axis: int) -> np.ndarray:
    shape = [1] * array.ndim
    shape[axis] = -1
    shifted: np.ndarray = (array + delta.reshape(shape)).astype(array.dtype)
    return shifted
