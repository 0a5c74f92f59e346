"""Sets of values whose channels can be scaled without changing what the model computes.

Scaling channel c of a value by 1/s_c commutes with what treats channels apart and is positively homogeneous: Relu,
LeakyRelu, PRelu, pooling, products with constants, sums of values of the same set. So a set grows from a value over
such operators, in both directions and over residual additions, until it ends at operators that can take the factor
into their constants: writers (convolutions, linear layers, normalizations: rows and biases are divided by s) and
readers (convolutions and linear layers: columns are multiplied by s). A set that meets anything else is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from graphopt.calibrate import Layer, layer_of
from graphopt.ir import constant
from graphopt.ir.edit import readers, static_shape
from graphopt.ir.schema import attribute

_APART = ("Relu", "LeakyRelu", "PRelu", "Identity", "Abs", "Neg")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_NORMS = {"LayerNormalization": -1, "RMSNormalization": -1, "SimplifiedLayerNormalization": -1, "BatchNormalization": 1,
          "InstanceNormalization": 1}  # fmt: skip
"""Operators that end with a scale and an offset of their own for each channel, and the axis of these."""
_MOST = 400
"""Values of a set; one that grows beyond is given up."""


@dataclass
class Region:
    """Values that can be scaled together.

    Attributes:
        axis: of the channels, 1 or -1.
        channels: how many.
        writers: layers, normalizations and additions of a constant that the values come from.
        readers: layers that the values end at.
        clips: Clip nodes inside that stand for a Relu, since their upper bound was never reached.
        values: by name.
    """

    axis: int
    channels: int
    writers: list[ir.Node] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)
    clips: list[ir.Node] = field(default_factory=list)
    values: dict[str, ir.Value] = field(default_factory=dict)


def regions(model: ir.Model, unclipped: Collection[str] = ()) -> Iterator[Region]:
    """The sets of the main graph, each once, in the order of their first writers.

    Args:
        model: with inferred shapes.
        unclipped: outputs of Clip nodes whose upper bound no sample reaches.
    """
    seen: set[str] = set()
    for node in list(model.graph):
        layer = layer_of(node)
        axis = layer.channel_axis if layer is not None else _NORMS.get(node.op_type)
        value = node.outputs[0]
        if axis is None or value.name in seen or (layer is None and node.op_type not in _NORMS):
            continue
        shape = static_shape(value) or value.shape
        width = layer.outputs if layer is not None else _width(node)
        if shape is None or width is None:
            continue
        grown = _Growth(Region(axis, width), unclipped)
        whole = grown.grow(value)
        seen.update(grown.region.values)
        if whole and grown.region.readers:
            yield grown.region


def _width(node: ir.Node) -> int | None:
    tensor = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if tensor is None else int(tensor.size)


class _Growth:
    def __init__(self, region: Region, unclipped: Collection[str]) -> None:
        self.region, self._unclipped = region, unclipped

    def grow(self, start: ir.Value) -> bool:
        """Grow from a value; False where something is met that does not scale."""
        waiting = [start]
        while waiting:
            value = waiting.pop()
            if value.name in self.region.values:
                continue
            if len(self.region.values) >= _MOST or not value.name or not self._fits(value):
                return False
            self.region.values[value.name] = value
            producer = value.producer()
            if producer is None or producer.outputs[0] is not value:
                return False
            before = self._write(producer)
            if before is None:
                return False
            waiting.extend(before)
            for node in dict.fromkeys(readers(value)):
                after = self._read(node, value)
                if after is None:
                    return False
                waiting.extend(after)
        return True

    def _fits(self, value: ir.Value) -> bool:
        shape = static_shape(value) or value.shape
        if shape is None or value.is_graph_output() or value.is_graph_input():
            return False
        sizes = list(shape)
        return len(sizes) > 1 and sizes[self.region.axis] == self.region.channels

    def _write(self, node: ir.Node) -> list[ir.Value] | None:
        """What joins because of the node that writes a value of the set; None where it cannot be scaled."""
        layer = layer_of(node)
        if layer is not None:
            plain = constant(layer.weight) is not None and layer.outputs == self.region.channels
            if not plain or layer.channel_axis != self.region.axis or not _bias_fits(layer):
                return None
            self.region.writers.append(node)
            return []
        if node.op_type in _NORMS and _NORMS[node.op_type] == self.region.axis:
            constants = [value for value in node.inputs[1:3] if value is not None]
            if len(node.outputs) > 1 and any(readers_ for out in node.outputs[1:] for readers_ in readers(out)):
                return None
            if node.op_type == "LayerNormalization" and attribute(node, "axis") not in (-1, len(_sizes(node)) - 1):
                return None
            if any(constant(value) is None or constant(value).size != self.region.channels for value in constants):  # type: ignore[union-attr]
                return None
            self.region.writers.append(node)
            return []
        return self._through(node)

    def _read(self, node: ir.Node, value: ir.Value) -> list[ir.Value] | None:
        """What joins because a node reads a value of the set; None where it does not scale."""
        layer = layer_of(node)
        if layer is not None:
            if layer.input is not value or constant(layer.weight) is None:
                return None
            axis = 1 if layer.channel_axis == 1 else -1
            same = axis == self.region.axis or len(_sizes(node)) == 2
            if not same or _columns_channels(layer) != self.region.channels:
                return None
            self.region.readers.append(layer)
            return []
        return None if self._through(node) is None else [node.outputs[0]]

    def _through(self, node: ir.Node) -> list[ir.Value] | None:
        """The inputs of an operator that commutes with the scaling, constants left out; None where it does not."""
        if len(node.outputs) > 1 and any(out.name and (out.is_graph_output() or any(True for _ in readers(out)))
                                         for out in node.outputs[1:]):  # fmt: skip
            return None
        first = node.inputs[0] if node.inputs else None
        if first is None or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in _APART or (node.op_type in _POOLS and self.region.axis == 1):
            return [first]
        if node.op_type == "Clip" and node.outputs[0].name in self._unclipped:
            self.region.clips.append(node)
            return [first]
        if node.op_type in ("Add", "Sub"):
            return self._sum(node)
        if node.op_type == "Mul":
            variable = [value for value in node.inputs if value is not None and constant(value) is None]
            return variable if len(variable) == 1 and len(node.inputs) == 2 else None
        return None

    def _sum(self, node: ir.Node) -> list[ir.Value] | None:
        variable = [value for value in node.inputs if value is not None and constant(value) is None]
        if len(variable) == 2:
            return variable
        if len(variable) != 1 or node.op_type != "Add":
            return None
        offset = next(value for value in node.inputs if value is not None and constant(value) is not None)
        tensor = constant(offset)
        assert tensor is not None
        sizes = list(tensor.shape.numpy())
        place = len(sizes) - 1 if self.region.axis == -1 else len(sizes) - (len(_sizes(node)) - 1)
        # One number a channel, and along the channels' axis.
        if tensor.size != self.region.channels or place < 0 or sizes[place] != self.region.channels:
            return None
        if node not in self.region.writers:
            self.region.writers.append(node)
        return variable


def _bias_fits(layer: Layer) -> bool:
    bias = layer.node.inputs[2] if len(layer.node.inputs) > 2 else None
    if bias is None:
        return True
    tensor = constant(bias)
    plain = layer.node.op_type != "Gemm" or attribute(layer.node, "beta") == 1
    return plain and tensor is not None and tensor.size == layer.outputs


def _columns_channels(layer: Layer) -> int:
    """Channels of what a layer reads."""
    if layer.node.op_type == "Conv":
        return layer.shape[1] * layer.groups
    if layer.node.op_type == "ConvTranspose":
        return layer.shape[0]
    return layer.columns


def _sizes(node: ir.Node) -> list[object]:
    value = node.outputs[0]
    shape = static_shape(value) or value.shape
    return list(shape) if shape is not None else []
