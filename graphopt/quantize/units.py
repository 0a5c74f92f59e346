"""What an integer kernel computes at once: an operator, the addition of its bias, and the clamp behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, is_read, readers, static_shape
from graphopt.quantize.scheme import Scheme

Role = Literal["weighted", "product", "free", "same", "joins", "fixed"]

_CLAMPS = ("Relu", "Clip")
_ALL_INPUTS = ("Add", "Concat", "Div", "MatMul", "Max", "Min", "Mul", "PRelu", "Sub")
_WEIGHT = 1


@dataclass
class Unit:
    """One operator that computes with codes.

    Attributes:
        role: what its kernel does with scales, see `graphopt.quantize.scheme`; "product" is a MatMul of activations.
        node: the operator.
        data: positions of its inputs that become codes and are computed at run time.
        constants: positions of its inputs that become codes and are constant, weights excepted.
        axis: of the weights' output channels, None for one scale; meaningless without weights.
        bias: the constant added to a weighted operator's result.
        adder: the Add that adds it, None where the operator does.
        clamps: Relu and Clip behind it, nearest first.
    """

    role: Role
    node: ir.Node
    data: list[int]
    constants: list[int] = field(default_factory=list)
    axis: int | None = None
    bias: ir.Value | None = None
    adder: ir.Node | None = None
    clamps: list[ir.Node] = field(default_factory=list)

    @property
    def weight(self) -> ir.Value:
        """The weights of a weighted operator."""
        value = self.node.inputs[_WEIGHT]
        assert value is not None
        return value

    @property
    def outputs(self) -> list[ir.Value]:
        """What becomes codes of its results."""
        last = self.clamps[-1] if self.clamps else self.adder
        return [last.outputs[0]] if last is not None else used_outputs(self.node)

    @property
    def nodes(self) -> list[ir.Node]:
        """All nodes of it, in order."""
        return [self.node, *([self.adder] if self.adder else []), *self.clamps]

    def inputs(self) -> Iterator[ir.Value]:
        """Its inputs that become codes at run time."""
        for place in self.data:
            value = self.node.inputs[place]
            assert value is not None
            yield value


def is_float(value: ir.Value | None) -> bool:
    """Whether a value holds float32, the one type that is quantized."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def units_of(graph: ir.Graph, scheme: Scheme, excluded: Sequence[ir.Node] = ()) -> list[Unit]:
    """The units that a scheme has kernels for, in graph order, each node in at most one."""
    taken, found = set(excluded), []
    for node in graph:
        if node in taken or node.domain not in ("", "ai.onnx"):
            continue
        unit = _weighted(node, scheme) or _other(node, scheme)
        if unit is None:
            continue
        _extend(unit, scheme, taken)
        taken.update(unit.nodes)
        found.append(unit)
    return found


def weight_axis(node: ir.Node, weight: ir.Value) -> int | None:
    """The axis of a weighted operator's output channels in its weights, None where one scale must serve for all.

    Source: TensorFlow Lite 8-bit quantization specification (per-axis weights), ONNX operator definitions.
    """
    rank = len(weight.shape or ())
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":  # its channels are spread over the groups
            return 1 if node.attributes.get_int("group", 1) == 1 else None
        case "Gemm":
            return 0 if node.attributes.get_int("transB", 0) else 1
        case "MatMul":
            return 1 if rank == 2 else None
        case _:
            return None


def numbers(value: ir.Value | None) -> np.ndarray | None:
    """The finite float32 numbers of a constant, None for anything else."""
    tensor = constant(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or 0 in tensor.shape.numpy():
        return None
    array: np.ndarray = tensor.numpy()
    return array if bool(np.isfinite(array).all()) else None


def _weighted(node: ir.Node, scheme: Scheme) -> Unit | None:
    if node.op_type not in scheme.weighted or len(node.inputs) < 2 or not is_float(node.inputs[0]):
        return None
    weight = node.inputs[_WEIGHT]
    if constant(node.inputs[0]) is not None or weight is None or numbers(weight) is None:
        return None
    shape = static_shape(weight) or ()
    if len(shape) < 2 or not _standard(node) or not _wide_enough(node, shape, scheme):
        return None
    axis = weight_axis(node, weight) if scheme.weighted[node.op_type] == "channel" else None
    unit = Unit("weighted", node, [0], axis=axis)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = numbers(node.inputs[2])
        if bias is None or bias.size != channels(unit):
            return None
        unit.bias = node.inputs[2]
    return unit


def _standard(node: ir.Node) -> bool:
    """Whether a Gemm is one that kernels have: x · W + b."""
    if node.op_type != "Gemm":
        return True
    factors = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return factors == [1.0, 1.0] and not node.attributes.get_int("transA", 0)


def _wide_enough(node: ir.Node, shape: Sequence[int], scheme: Scheme) -> bool:
    if not scheme.least_channels:
        return True
    if node.op_type in ("Conv", "ConvTranspose"):
        sides = [shape[0], shape[1] * node.attributes.get_int("group", 1)]
    else:
        sides = [*shape[-2:]]
    return min(sides) >= scheme.least_channels and not any(side % scheme.multiple for side in sides)


def channels(unit: Unit) -> int:
    """Output channels of a weighted unit."""
    shape = static_shape(unit.weight) or ()
    if unit.node.op_type == "ConvTranspose":
        return shape[1] * unit.node.attributes.get_int("group", 1)
    axis = weight_axis(unit.node, unit.weight)
    return shape[axis] if axis is not None else shape[-1]


def _other(node: ir.Node, scheme: Scheme) -> Unit | None:
    name, operators = node.op_type, scheme.operators
    role: Role
    if name in operators.free:
        role = "product" if name == "MatMul" else "free"
    elif name in operators.same:
        role = "same"
    elif name in operators.joins:
        role = "joins"
    elif name in operators.fixed:
        role = "fixed"
    else:
        return None
    if not _keeps_range(node):
        return None
    places = range(len(node.inputs)) if name in _ALL_INPUTS else (1, 2) if name == "Where" else (0,)
    unit = Unit(role, node, [])
    for place in places:
        value = node.inputs[place]
        if not is_float(value):
            return None
        if constant(value) is None:
            unit.data.append(place)
        elif numbers(value) is None:
            return None
        else:
            unit.constants.append(place)
    used = used_outputs(node)
    return unit if unit.data and used and all(is_float(value) for value in used) else None


def used_outputs(node: ir.Node) -> list[ir.Value]:
    """The outputs that anything reads."""
    return [value for value in node.outputs if value.is_graph_output() or is_read(value)]


def _keeps_range(node: ir.Node) -> bool:
    """Whether an operator that moves numbers makes no others: a Pad of 0, a Resize that does not overshoot."""
    if node.op_type == "Pad":
        value = node.inputs[2] if len(node.inputs) > 2 else None
        if value is None:
            return True
        filling = numbers(value)
        return filling is not None and not filling.any()
    if node.op_type == "Resize":
        cropped = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
        return node.attributes.get_string("mode", "nearest") != "cubic" and not cropped
    return True


def _extend(unit: Unit, scheme: Scheme, taken: set[ir.Node]) -> None:
    """Take over the bias and the clamps behind an operator that nothing else reads."""
    if unit.role not in ("weighted", "product", "free") or scheme.placement == "inputs":
        return
    value = unit.outputs[0]
    follower = _only_reader(value)
    if unit.node.op_type == "MatMul" and unit.role == "weighted" and scheme.adds_bias and follower is not None:
        added = next((one for one in follower.inputs if one is not value), None)
        bias = numbers(added) if follower.op_type == "Add" and follower not in taken else None
        if bias is not None and bias.size == channels(unit) and bias.shape[-1:] == (bias.size,):
            unit.adder, unit.bias = follower, added
            follower = _only_reader(follower.outputs[0])
    while scheme.clamps and follower is not None and follower not in taken and _is_clamp(follower):
        unit.clamps.append(follower)
        follower = _only_reader(follower.outputs[0])


def _only_reader(value: ir.Value) -> ir.Node | None:
    if value.is_graph_output():
        return None
    found = list(readers(value))
    same_graph = len(found) == 1 and found[0].graph is value.producer().graph  # type: ignore[union-attr]
    return found[0] if same_graph and not found[0].domain else None


def _is_clamp(node: ir.Node) -> bool:
    return node.op_type in _CLAMPS and all(one is None or numbers(one) is not None for one in node.inputs[1:])


def clamp_bounds(node: ir.Node) -> tuple[float, float]:
    """The least and the largest number that a Relu or a Clip lets through."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    told = [numbers(one) for one in (*node.inputs[1:], None, None)[:2]]
    low = node.attributes.get_float("min", -np.inf) if told[0] is None else float(told[0].reshape(()))
    high = node.attributes.get_float("max", np.inf) if told[1] is None else float(told[1].reshape(()))
    return low, high
