"""What it means to compute a part of a graph in another layout: its axes permuted, or its elements in another shape."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, opset, shape_of
from graphopt.ir.symbolic import Dim

UNARY = frozenset({
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "DequantizeLinear", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf",
    "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
    "ThresholdedRelu",
})  # fmt: skip
"""Operators that look at each element of their first input alone; further inputs are single numbers."""
BROADCAST = frozenset({
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
})  # fmt: skip
"""Operators that look at corresponding elements of all their inputs."""
REDUCTIONS = frozenset({
    "ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
})  # fmt: skip
_SINCE_BROADCASTING = 8
"""Opset from which all operators broadcast as numpy does."""
_LARGEST = 1 << 24
"""Bytes up to which a constant is rewritten in another layout."""


@dataclass(frozen=True)
class Flip:
    """How a node is written in the other layout.

    Attributes:
        inputs: positions of the inputs that it then reads in the other layout.
        constants: inputs that become other constants, by position.
        attributes: attributes that change, by name.
    """

    inputs: tuple[int, ...]
    constants: Mapping[int, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A node that only moves elements: its operator, the array of its second input if it has one, its attributes."""

    op_type: str
    array: np.ndarray | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Layout(abc.ABC):
    """Another layout for the values of a region.

    "There" is that layout, "here" is the one that the graph has. A move is a node that only goes between layouts.
    """

    @abc.abstractmethod
    def reverse(self) -> Layout:
        """The layout here, seen from there."""

    @abc.abstractmethod
    def fits(self, value: ir.Value) -> bool:
        """Whether a value has a form there."""

    @abc.abstractmethod
    def flip(self, node: ir.Node) -> Flip | None:
        """How a node computes there, None where it cannot."""

    @abc.abstractmethod
    def is_move(self, node: ir.Node) -> bool:
        """Whether a node only moves elements, so that it can read its input, or make its output, in either layout."""

    @abc.abstractmethod
    def begins_there(self, move: ir.Node) -> bool:
        """Whether the input of a move is its output as that is there."""

    @abc.abstractmethod
    def ends_there(self, move: ir.Node) -> bool:
        """Whether the output of a move is its input as that is there."""

    @abc.abstractmethod
    def shape_there(self, value: ir.Value) -> ir.Shape:
        """The proven shape of a value there, which fits."""

    @abc.abstractmethod
    def convert(self, value: ir.Value, *, there: bool) -> Step:
        """The step to a value there from the value here, or back."""

    @abc.abstractmethod
    def between(self, move: ir.Node, *, source_there: bool, result_there: bool) -> Step | None:
        """The step that stands for a move whose input or output is there; None where it would change nothing."""

    def saving(self, node: ir.Node) -> tuple[int, tuple[ir.Node, ...]]:
        """What other passes save where several nodes, of which this is the last, all compute there.

        Returns:
            A number of nodes, negative where it is lost as soon as one of them computes there; and those nodes.
        """
        return 0, ()


def movable_constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of a constant that is not too large to be written anew."""
    tensor = constant(value)
    if tensor is None or tensor.nbytes > _LARGEST or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor.numpy()


def rank_of(value: ir.Value | None) -> int | None:
    """The proven rank of a value."""
    shape = shape_of(value)
    return None if shape is None else len(shape)


def is_single(value: ir.Value) -> bool:
    """Whether a value is proven to have one element."""
    shape = shape_of(value)
    return shape is not None and all(dim == 1 for dim in shape)


def is_elementwise(node: ir.Node) -> bool:
    """Whether a node only looks at corresponding elements, with the broadcasting of numpy, and has one output."""
    if node.domain or len(node.outputs) != 1:
        return False
    if node.op_type in UNARY:
        return all(v is None or is_single(v) for v in node.inputs[1:])
    return node.op_type in BROADCAST and opset(node) >= _SINCE_BROADCASTING


def one_dynamic(dims: tuple[Dim, ...]) -> bool:
    """Whether a constant can be the target of a Reshape to these dimensions: at most one is not a number, none is 0."""
    numbers = [dim.number for dim in dims]
    return numbers.count(None) <= 1 and 0 not in numbers


def target(dims: tuple[Dim, ...]) -> np.ndarray:
    """The second input of a Reshape to dimensions of which at most one is not a number."""
    return np.array([-1 if dim.number is None else dim.number for dim in dims], np.int64)
