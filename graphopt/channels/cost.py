"""What a model costs as a function of what is left of its axes: multiply-accumulates and parameters.

Both are sums of products of axis sizes (`graphopt.support.work` has the formulas), so a removal is priced without
touching the model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.channels.build import is_weight
from graphopt.channels.graph import Axis, Cells, ChannelGraph, UnknownShape
from graphopt.channels.operators.common import flag
from graphopt.channels.operators.linear import labels
from graphopt.ir.edit import nodes_of


@dataclass(frozen=True)
class Term:
    """One product of axis sizes.

    Attributes:
        axes: what is multiplied.
        recurrent: whether a recurrent layer costs it.
    """

    axes: tuple[Axis, ...]
    recurrent: bool = False


def mac_terms(model: ir.Model, graph: ChannelGraph) -> list[Term]:
    """The multiply-accumulates of a model, those of bodies counted once; nodes of unknown shape cost nothing."""
    terms: list[Term] = []
    for node in nodes_of(model.graph):
        try:
            terms.extend(_of_node(node, graph))
        except UnknownShape:
            continue
    return terms


def parameter_terms(graph: ChannelGraph) -> list[Term]:
    """The elements of all weights that relations speak of."""
    owners = {axis.owner: None for axis in graph.axes}
    values = [value for value in owners if isinstance(value, ir.Value) and is_weight(value)]
    return [Term(tuple(graph.axes_of(value))) for value in values]


def _of_node(node: ir.Node, graph: ChannelGraph) -> list[Term]:
    op = node.op_type
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return []
    if op in ("Conv", "ConvInteger", "QLinearConv", "FusedConv", "DeformConv"):
        return [Term((*_axes(graph, node.outputs[0]), *_axes(graph, node.inputs[3 if op == "QLinearConv" else 1])[1:]))]
    if op == "ConvTranspose":
        return [Term((*_axes(graph, node.inputs[0]), *_axes(graph, node.inputs[1])[1:]))]
    if op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return [Term((*_axes(graph, node.outputs[0]), _axes(graph, node.inputs[0])[-1]))]
    if op == "Gemm":
        return [Term((*_axes(graph, node.outputs[0]), _axes(graph, node.inputs[0])[1 - flag(node, "transA")]))]
    if op == "Einsum" and len(node.inputs) == 2:
        terms = node.attributes["equation"].as_string().replace(" ", "").split("->")[0].split(",")
        found: dict[str, Axis] = {}
        for term, value in zip(terms, node.inputs, strict=True):
            axes = _axes(graph, value)
            for label, axis in zip(labels(term, len(axes)), axes, strict=True):
                if found.setdefault(label, axis).size < axis.size:
                    found[label] = axis
        return [Term(tuple(found.values()))]
    if op == "Attention":
        names = ("heads", "head size", "value size")
        heads, size, size_v = (one for name in names if (one := graph.find(node, name)) is not None)
        asked, keys = _axes(graph, node.inputs[0]), _axes(graph, node.inputs[1])
        around = (asked[0], asked[-2], keys[-2], heads)
        return [Term((*around, size)), Term((*around, size_v))]
    if op in ("LSTM", "GRU", "RNN"):
        steps = tuple(_axes(graph, node.inputs[0])[:2])
        return [Term((*steps, *_axes(graph, node.inputs[place])), True) for place in (1, 2)]
    return []


def _axes(graph: ChannelGraph, value: ir.Value | None) -> list[Axis]:
    assert value is not None
    return [graph.axis(value, index) for index in range(len(graph.shape(value)))]


class Ledger:
    """What is left of every axis, and what that costs.

    Args:
        graph: the axes.
        terms: what costs.
    """

    def __init__(self, graph: ChannelGraph, terms: list[Term]) -> None:
        self.gone = np.zeros(graph.count, bool)
        self.left = [axis.size for axis in graph.axes]
        self._owner = np.repeat(np.arange(len(graph.axes)), self.left)
        number = {axis: place for place, axis in enumerate(graph.axes)}
        self._terms = [[number[axis] for axis in term.axes if axis.size > 1] for term in terms]
        self._of_axis: dict[int, list[int]] = defaultdict(list)
        for place, axes in enumerate(self._terms):
            for axis in set(axes):
                self._of_axis[axis].append(place)
        self._costs = [self._cost(axes, {}) for axes in self._terms]
        self.whole = self.total

    @property
    def total(self) -> float:
        """What everything that is left costs."""
        return sum(self._costs)

    def loss(self, cells: Cells) -> dict[int, int]:
        """How many more entries each axis loses when these cells leave."""
        new = cells[~self.gone[cells]]
        axes, counts = np.unique(self._owner[new], return_counts=True)
        return dict(zip(axes.tolist(), counts.tolist(), strict=True))

    def fits(self, loss: dict[int, int], least: int = 1) -> bool:
        """Whether every axis keeps entries."""
        return all(self.left[axis] - count >= least for axis, count in loss.items())

    def saving(self, loss: dict[int, int]) -> float:
        """What leaves the cost with such a loss."""
        touched = {place for axis in loss for place in self._of_axis.get(axis, ())}
        return sum(self._costs[place] - self._cost(self._terms[place], loss) for place in touched)

    def remove(self, cells: Cells) -> None:
        """Let cells leave."""
        loss = self.loss(cells)
        self.gone[cells] = True
        for axis, count in loss.items():
            self.left[axis] -= count
        for place in {place for axis in loss for place in self._of_axis.get(axis, ())}:
            self._costs[place] = self._cost(self._terms[place], {})

    def _cost(self, axes: list[int], loss: dict[int, int]) -> float:
        return math.prod(self.left[axis] - loss.get(axis, 0) for axis in axes)
