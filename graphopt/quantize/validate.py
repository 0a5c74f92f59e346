"""Is a quantized graph legal for its scheme? Every conversion and every operator between conversions is held against
it: types of codes, zero points, axes, the bias's scale, shared and prescribed scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.ir.edit import constant, readers
from graphopt.ir.validate import describe
from graphopt.quantize import grid as grids
from graphopt.quantize.scheme import Codes, Scheme
from graphopt.quantize.units import weight_axis

_CLAMPS = ("Relu", "Clip")
_BIAS_ERROR = 1e-5
"""Relative difference that rounding two scales to float32 may make in their product."""


@dataclass(frozen=True)
class Finding:
    """What is not as the scheme has it.

    Attributes:
        node: its name.
        op_type: its operator.
        reason: one clause.
    """

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True)
class _Said:
    """What a conversion says of its codes."""

    dtype: ir.DataType | None
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    block: int

    def same(self, other: _Said) -> bool:
        return (
            self.dtype == other.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero, other.zero)
        )


def validate(model: ir.Model, scheme: Scheme) -> list[Finding]:
    """Hold the main graph of a quantized model against a scheme.

    Returns:
        One finding for each break of a rule, in graph order; none where the model is legal.
    """
    found: list[Finding] = []
    for node in model.graph:
        if node.domain in ("", "ai.onnx"):
            reasons = _conversion(node, scheme) if _is_conversion(node) else _between(node, scheme)
            found.extend(Finding(describe(node), node.op_type, reason) for reason in reasons)
    return found


def _is_conversion(node: ir.Node | None) -> bool:
    return node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _conversion(node: ir.Node, scheme: Scheme) -> Iterator[str]:
    said = _said(node)
    if said is None:
        yield "its scale or its zero point is not constant"
        return
    if not (np.isfinite(said.scale).all() and (said.scale > 0).all()):
        yield "a scale is not a positive number"
    held = constant(node.inputs[0])
    if held is None:
        kind = scheme.activations
        if kind is None:
            yield f"{scheme.name} leaves activations in float"
        else:
            yield from _kind(said, kind)
            if said.scale.size != 1:
                yield "activations have one scale"
        return
    if said.dtype == ir.DataType.INT32:
        return  # a bias: judged with its operator
    kinds = [kind for kind in (scheme.weights, scheme.activations) if kind is not None]
    complaints = [list(_kind(said, kind)) for kind in kinds]
    if all(complaints):
        yield from complaints[0]
        return
    least, narrow = int(held.numpy().astype(np.int32).min(initial=0)), scheme.weights.narrow
    if narrow and said.dtype == _dtype(scheme.weights) and not said.zero.any() and least < scheme.weights.limits[0]:
        yield f"weights use the code {least}"


def _kind(said: _Said, kind: Codes) -> Iterator[str]:
    if said.dtype != _dtype(kind):
        yield f"codes are {str(said.dtype).lower()}, the scheme has {kind.dtype}"
    elif kind.symmetric:
        low, high = kind.limits
        if (said.zero != (low + high + 1) // 2).any():
            yield "the scheme is symmetric, and a zero point is not the middle"


def _between(node: ir.Node, scheme: Scheme) -> Iterator[str]:
    """What is wrong with an operator between conversions; nothing is where it computes in float."""
    fed = _fed(node, 0)
    if fed is None or scheme.activations is None:
        return
    if node.op_type in scheme.weighted and len(node.inputs) > 1:
        weight = _fed(node, 1)
        if weight is not None and constant(weight[0].inputs[0]) is not None:
            yield from _weighted(node, scheme, fed[1], weight[1])
            return
    out = _written(node)
    if out is None:
        return
    operators = scheme.operators
    if node.op_type in operators.fixed:
        wanted = grids.fixed(*operators.fixed[node.op_type], scheme.activations)
        if not (np.array_equal(out.scale, wanted.scale) and np.array_equal(out.zero, wanted.zero)):
            yield f"its kernel prescribes the scale {float(wanted.scale):.6g} and the zero point {int(wanted.zero)}"
    elif node.op_type in operators.same and not fed[1].same(out):
        yield "its kernel keeps the scale, and its result has another"
    elif node.op_type in operators.joins:
        parts = [_fed(node, place) for place in range(len(node.inputs))]
        if any(part is not None and not part[1].same(out) for part in parts):
            yield "its operands and its result have one scale, and one differs"


def _weighted(node: ir.Node, scheme: Scheme, fed: _Said, weight: _Said) -> Iterator[str]:
    value = node.inputs[1]
    assert value is not None
    source = value.producer()
    assert source is not None
    assert source.inputs[0] is not None
    axis = weight_axis(node, source.inputs[0]) if scheme.weighted[node.op_type] == "channel" else None
    yield from _kind(weight, scheme.weights)
    if weight.scale.size > 1 and axis is None:
        yield "its weights have one scale for all"
    elif weight.scale.size > 1 and weight.axis != axis:
        yield f"its weights' scales lie along axis {weight.axis}, the kernel's along {axis}"
    if scheme.placement == "all" and node.op_type not in scheme.float_output and _written(node) is None:
        yield "its result is not in codes, so it computes in float"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return
    held = bias.producer()
    if scheme.bias == "float":
        if _is_conversion(held):
            yield "its bias is quantized, and the scheme leaves it in float"
        return
    said = _said(held) if held is not None and _is_conversion(held) else None
    if said is None or said.dtype != ir.DataType.INT32:
        yield "its bias is not in int32 codes"
    elif said.zero.any() or not np.allclose(said.scale, fed.scale * weight.scale, rtol=_BIAS_ERROR, atol=0):
        yield "its bias has another scale than the product of those of data and weights"


def _fed(node: ir.Node, place: int) -> tuple[ir.Node, _Said] | None:
    """The DequantizeLinear that makes an input, and what it says."""
    value = node.inputs[place] if place < len(node.inputs) else None
    source = value.producer() if value is not None else None
    if source is None or source.op_type != "DequantizeLinear":
        return None
    said = _said(source)
    return None if said is None else (source, said)


def _written(node: ir.Node) -> _Said | None:
    """What the QuantizeLinear behind an operator says, past its bias and clamps; None where there is none."""
    value = node.outputs[0]
    while True:
        found = list(readers(value))
        if len(found) != 1 or value.is_graph_output():
            return None
        if found[0].op_type == "QuantizeLinear":
            return _said(found[0])
        added = found[0].op_type == "Add" and any(constant(one) is not None for one in found[0].inputs)
        if found[0].op_type not in _CLAMPS and not added:
            return None
        value = found[0].outputs[0]


def _said(node: ir.Node) -> _Said | None:
    scale = constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or (len(node.inputs) > 2 and node.inputs[2] is not None and zero is None):
        return None
    array = scale.numpy()
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else node.inputs[2] if len(node.inputs) > 2 else None
    dtype = value.dtype if value is not None else ir.DataType.UINT8
    rank = len(node.inputs[0].shape or ()) if node.inputs[0] is not None else 0
    axis = node.attributes.get_int("axis", 1)
    zeros = np.zeros(array.shape, np.int32) if zero is None else zero.numpy().astype(np.int32)
    return _Said(dtype, array, zeros, axis % rank if rank else axis, node.attributes.get_int("block_size", 0))


def _dtype(kind: Codes) -> ir.DataType:
    return ir.DataType[kind.dtype.upper()]
