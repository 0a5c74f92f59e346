"""What does an input mean? Read it off the nodes that consume it.

An integer that indexes a table must stay inside the table, a mask is 0 or 1, a length is the length of the sequence,
a shape must be a shape. The answer is found by following the input through nodes that only move or cast it (Cast,
Unsqueeze, Slice, …, calls of model functions, bodies of Loop and Scan) to the first node that gives it a meaning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from graphopt.verify.uses import HOPS, meanings

INT_MAX = 2**31 - 1
ONE_HOT = 2**20

_SAME_SHAPE = {"Cast", "Dropout", "Identity", "DequantizeLinear", "Relu", "Neg"}


@dataclass(frozen=True)
class Role:
    """What values an input may take.

    Attributes:
        kind: "number": anything, or uniform in [low, high] where they are given; "index": an integer in [0, high);
            "mask": 0 or 1; "position": 0, 1, 2, … along the last axis, below high; "choice": each sample takes one of
            `values` for all its elements; "vector": exactly `values`, the last one repeated.
    """

    kind: Literal["number", "index", "mask", "position", "choice", "vector"]
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Context:
    """The model, the shapes chosen for its inputs, and what the inputs of its functions stand for at their calls."""

    model: ir.Model
    shapes: dict[str, tuple[int, ...]]
    bound: dict[ir.Value, ir.Value | None]

    @classmethod
    def of(cls, model: ir.Model, shapes: dict[str, tuple[int, ...]]) -> Context:
        """Collect the context of a model; a function that is called more than once counts with its first call."""
        bound: dict[ir.Value, ir.Value | None] = {}
        callers: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()] if model.functions else []
        for node in itertools.chain.from_iterable(caller.all_nodes() for caller in callers):
            function = model.functions.get(node.op_identifier())
            for inner, outer in zip(function.inputs if function else (), node.inputs, strict=False):
                bound.setdefault(inner, outer)
        return cls(model, shapes, bound)

    def dim(self, value: ir.Value | None, axis: int) -> int | None:
        """The size of an axis, where the graph's start or its annotations tell it."""
        for _ in range(HOPS):
            if value in self.bound:
                value = self.bound[value]
                continue
            if value is None:
                return None
            own = value.is_graph_input() and value.graph is self.model.graph
            shape: tuple[object, ...] | None = self.shapes.get(value.name or "") if own else None
            tensor = ir.convenience.get_const_tensor(value)
            if shape is None and tensor is not None:
                shape = tuple(tensor.shape)
            if shape is None and value.shape is not None:
                shape = tuple(value.shape)
            if shape is not None and -len(shape) <= axis < len(shape) and isinstance(shape[axis], int):
                return int(shape[axis])  # type: ignore[call-overload,no-any-return]
            node = value.producer()
            if node is None or node.op_type not in (*_SAME_SHAPE, "Transpose"):
                return None
            perm = node.attributes.get("perm")
            if node.op_type == "Transpose" and perm is not None:
                axis = perm.as_ints()[axis]
            elif node.op_type == "Transpose":
                axis = -1 - axis  # without perm the axes are reversed
            value = node.inputs[0]
        return None


def role(value: ir.Value, context: Context) -> Role:
    """Tell what values the input `value` may take; "number" where nothing in the graph restricts it."""
    name = (value.name or "").lower()
    integer = value.dtype is not None and value.dtype.is_integer()
    found = [r for node, index in meanings(value, context.model) if (r := _read(node, index, context)) is not None]
    limits = [r.high for r in found if r.kind == "index" and r.high is not None]
    high = min(limits) if limits else None
    if integer and re.search(r"token_type|segment", name):
        return Role("choice", values=(0,))
    if integer and re.search(r"position", name):
        return Role("position", high=high)
    if limits:
        return Role("index", high=high)
    if value.dtype == ir.DataType.BOOL or (not found and integer and _is_flagged(value, context.model)):
        return next((r for r in found if r.kind == "choice"), Role("mask"))
    choices = [r for r in found if r.kind == "choice"]
    if choices:
        return Role("choice", values=tuple(dict.fromkeys(v for r in choices for v in r.values)))
    if found:
        return found[0]
    if "mask" in name or _is_flagged(value, context.model):
        return Role("mask")
    if integer and re.search(r"len(gth)?s?\b|lengths?$", name):
        return Role("choice", values=(_sequence(context) or 1,))
    return Role("number")


def _read(node: ir.Node, index: int, context: Context) -> Role | None:
    reader = _READERS.get((node.op_type, index))
    return reader(node, context) if reader is not None else _RANGES.get((node.op_type, index))


def _is_flagged(value: ir.Value, model: ir.Model) -> bool:
    """Whether a number is used as a flag: cast to bool, or in the idiom (1 - mask) * -10000 of attention masks."""
    for node, index in meanings(value, model):
        if node.op_type in ("Not", "And", "Or", "Xor") or (node.op_type == "Where" and index == 0):
            return True
        if node.op_type == "Sub" and index == 1 and _constant(node.inputs[0]) == (1.0,):
            return any(_is_large(other) for use in node.outputs[0].uses() for other in use.node.inputs)
    return False


def _is_large(value: ir.Value | None) -> bool:
    constant = _constant(value)
    return constant is not None and len(constant) == 1 and abs(constant[0]) >= 1e3


def _constant(value: ir.Value | None, limit: int = 64) -> tuple[float, ...] | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.dtype == ir.DataType.STRING or tensor.size > limit:
        return None
    return tuple(float(x) for x in np.asarray(tensor.numpy()).ravel())


def _sequence(context: Context) -> int | None:
    return next((shape[1] for shape in context.shapes.values() if len(shape) > 1), None)


def _axis(node: ir.Node, default: int = 0) -> int:
    return node.attributes["axis"].as_int() if "axis" in node.attributes else default


def _along_axis(node: ir.Node, context: Context) -> Role:
    # Where the size is unknown only the first element is sure to exist.
    return Role("index", high=context.dim(node.inputs[0], _axis(node)) or 1)


def _into_leading_axes(node: ir.Node, context: Context) -> Role:
    data, indices = node.inputs[0], node.inputs[1]
    depth = context.dim(indices, -1) or 1
    return Role("index", high=min((context.dim(data, axis) or 1 for axis in range(depth)), default=1))


def _table(position: int) -> Callable[[ir.Node, Context], Role | None]:
    return lambda node, context: Role("index", high=context.dim(node.inputs[position], 0) or 1)


def _depth(node: ir.Node, context: Context) -> Role:
    constant = _constant(node.inputs[1])
    return Role("index", high=constant[0] if constant else 1)


def _sequence_lengths(node: ir.Node, context: Context) -> Role:
    batch_first = "layout" in node.attributes and node.attributes["layout"].as_int() == 1
    return Role("choice", values=(context.dim(node.inputs[0], 1 if batch_first else 0) or 1,))


def _time_axis(node: ir.Node, context: Context) -> Role:
    axis = node.attributes["time_axis"].as_int() if "time_axis" in node.attributes else 0
    return Role("choice", values=(context.dim(node.inputs[0], axis) or 1,))


def _compared(other: int) -> Callable[[ir.Node, Context], Role | None]:
    """An input compared with a few constants selects (a sampling rate, a mode), with 0, 1, … n-1 it becomes one-hot."""

    def read(node: ir.Node, context: Context) -> Role | None:
        constant = sorted(set(_constant(node.inputs[other], ONE_HOT) or ()))
        if len(constant) > 2 and constant == list(range(len(constant))):
            return Role("index", high=len(constant))
        return Role("choice", values=tuple(constant)) if constant else None

    return read


def _data_shape(node: ir.Node, context: Context) -> Role:
    data = node.inputs[0]
    rank = len(data.shape) if data is not None and data.shape is not None else 4
    return Role("vector", values=tuple(context.dim(data, axis) or 1 for axis in range(rank)))


def _even_split(node: ir.Node, context: Context) -> Role:
    size, parts = context.dim(node.inputs[0], _axis(node)), len(node.outputs)
    size = parts if size is None else size
    return Role("vector", values=tuple(size // parts + (i < size % parts) for i in range(parts)))


_READERS: dict[tuple[str, int], Callable[[ir.Node, Context], Role | None]] = {
    ("Gather", 1): _along_axis,
    ("GatherElements", 1): _along_axis,
    ("ScatterElements", 1): _along_axis,
    ("Scatter", 1): _along_axis,
    ("GatherND", 1): _into_leading_axes,
    ("ScatterND", 1): _into_leading_axes,
    ("ArrayFeatureExtractor", 1): lambda node, context: Role("index", high=context.dim(node.inputs[0], -1) or 1),
    ("OneHot", 0): _depth,
    ("EmbedLayerNormalization", 0): _table(2),
    ("EmbedLayerNormalization", 1): _table(4),
    ("GatherBlockQuantized", 1): _along_axis,
    **{(op, 4): _sequence_lengths for op in ("LSTM", "GRU", "RNN")},
    ("ReverseSequence", 1): _time_axis,
    ("Equal", 0): _compared(1),
    ("Equal", 1): _compared(0),
    ("Resize", 3): _data_shape,
    ("Split", 1): _even_split,
}

_AXES = Role("vector", values=tuple(range(8)))
_ONES, _ZEROS = Role("vector", values=(1,)), Role("vector", values=(0,))

_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

_RANGES: dict[tuple[str, int], Role] = {
    ("Reshape", 1): Role("vector", values=(-1, 1)),
    ("Expand", 1): _ONES,
    ("Tile", 1): _ONES,
    ("ConstantOfShape", 0): Role("vector", values=(2,)),
    ("Slice", 1): _ZEROS,
    ("Slice", 2): Role("vector", values=(INT_MAX,)),
    ("Slice", 3): _AXES,
    ("Slice", 4): _ONES,
    ("Range", 0): _ZEROS,
    ("Range", 1): Role("vector", values=(4,)),
    ("Range", 2): _ONES,
    ("Pad", 1): _ZEROS,
    ("Pad", 3): _AXES,
    ("TopK", 1): _ONES,
    ("Loop", 0): Role("choice", values=(3, 1)),
    ("Loop", 1): Role("choice", values=(1,)),
    ("If", 0): Role("choice", values=(1, 0)),
    ("Trilu", 1): Role("choice", values=(0, 1)),
    **{(op, 1): _ZEROS for op in ("CumSum", "CumProd")},
    ("DFT", 2): _ONES,
    ("SplitToSequence", 1): _ONES,
    ("TensorScatter", 2): _ZEROS,
    ("Unsqueeze", 1): _AXES,
    ("Squeeze", 1): _AXES,
    **{(f"Reduce{kind}", 1): _AXES for kind in _REDUCTIONS},
    ("RoiAlign", 2): _ZEROS,
    ("NonMaxSuppression", 2): Role("choice", values=(10,)),
    ("NonMaxSuppression", 3): Role("number", 0.3, 0.7),
    ("NonMaxSuppression", 4): Role("number", -1, 0.3),
    ("Resize", 2): _ONES,
    ("Upsample", 1): _ONES,
    ("Dropout", 1): _ZEROS,
    ("Dropout", 2): _ZEROS,
    ("QuantizeLinear", 1): Role("number", 0.01, 0.1),
    ("QuantizeLinear", 2): _ZEROS,
    ("DequantizeLinear", 1): Role("number", 0.01, 0.1),
    ("DequantizeLinear", 2): _ZEROS,
    **{(op, place): _ZEROS for op in ("ConvInteger", "MatMulInteger") for place in (2, 3)},
    ("BatchNormalization", 4): Role("number", 0.5, 2),
    ("Clip", 1): Role("number", -1, -0.5),
    ("Clip", 2): Role("number", 0.5, 1),
    ("GridSample", 1): Role("number", -1, 1),
    ("Div", 1): Role("number", 1, 4),
    ("Mod", 1): Role("number", 1, 4),
    ("Reciprocal", 0): Role("number", 0.5, 4),
    **{(op, 0): Role("number", 0.05, 4) for op in ("Log", "Sqrt", "Pow")},
    ("Acosh", 0): Role("number", 1, 4),
    **{(op, 0): Role("number", -0.95, 0.95) for op in ("Acos", "Asin", "Atanh")},
}
