"""What a lossy run cost each layer, for its report: errors by layer, and how the values of the worst are spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError
from graphopt.ir import constant
from graphopt.report.model import Histogram, Layer, PassRecord

_BINS = 32
_WORST = 20
Given = Sequence[Mapping[str, np.ndarray]]


def layers_of(records: Sequence[PassRecord], original: ir.Model, final: ir.Model, samples: Given) -> tuple[Layer, ...]:
    """The error of each layer of a lossy run: as the last pass told it that measured one, else measured here.

    Args:
        records: of the passes.
        original, final: the models.
        samples: inputs to measure on.
    """
    for record in reversed(records):
        told = record.metrics.get("layers") if record.outcome == "applied" else None
        if isinstance(told, list | tuple) and told:
            return tuple(_layer(one) for one in told if isinstance(one, Mapping) and "name" in one)
    if not samples or not any(one.outcome == "applied" and one.fidelity == "lossy" for one in records):
        return ()
    from graphopt.quantize.debug import drifts

    try:
        found = drifts(original, final, lambda: samples)
    except GraphoptError:
        return ()  # one of the models does not run: the verification says so
    return tuple(
        Layer(
            node=one.node, op_type=one.op_type,
            metrics={"sqnr_db": one.sqnr_db, "fall_db": one.fall_db, "mean_shift": one.mean_shift},
        )
        for one in found
    )  # fmt: skip


def histograms_of(
    records: Sequence[PassRecord], original: ir.Model, final: ir.Model, layers: Sequence[Layer], samples: Given
) -> tuple[Histogram, ...]:
    """How weights and activations of the 20 worst layers are spread, and over which range they have codes.

    Args:
        records: of the passes; one that counted values itself has its word.
        original, final: the models.
        layers: their errors.
        samples: inputs to count activations on.
    """
    for record in reversed(records):
        told = record.metrics.get("histograms") if record.outcome == "applied" else None
        whole = [(str(k), v) for k, v in told.items() if _counted(v)] if isinstance(told, Mapping) else []
        if whole:
            return tuple(_told(name, one) for name, one in whole)
    if not any(node.op_type == "DequantizeLinear" for node in final.graph):
        return ()
    rated = [layer for layer in layers if layer.metrics.get("sqnr_db") is not None]
    worst = sorted(rated, key=lambda layer: layer.metrics["sqnr_db"] or 0.0)[:_WORST]
    nodes = {node.name: node for node in final.graph}
    ranked = [nodes[layer.node] for layer in worst if layer.node in nodes]
    written = {one.name: one for one in _activations(original, ranked, samples)}
    pairs = ((*_weights(node), written.get(node.name or "")) for node in ranked)
    return tuple(one for pair in pairs for one in pair if one is not None)


def _layer(told: Mapping[str, Any]) -> Layer:
    metrics = {name: value for name, value in told.items() if isinstance(value, int | float)}
    return Layer(node=str(told["name"]), op_type=str(told.get("op_type", "")), metrics=metrics)


def _counted(one: object) -> bool:
    return isinstance(one, Mapping) and {"edges", "counts"} <= set(one)


def _told(name: str, one: Mapping[str, Any]) -> Histogram:
    """A histogram as the pass `quantize` writes it down."""
    low, high = one["edges"]
    kind: Literal["weights", "activations"] = "weights" if one.get("kind") == "weights" else "activations"
    codes = one.get("codes")
    if codes is None and one.get("scale"):
        zero = one.get("zero_point") or 0
        least = -128 if zero <= 0 else 0
        codes = one["scale"] * (least - zero), one["scale"] * (least + 255 - zero)
    return Histogram(
        name=name, kind=kind, low=float(low), high=float(high), counts=tuple(map(int, one["counts"])),
        codes=None if codes is None else (float(codes[0]), float(codes[1])),
    )  # fmt: skip


def _weights(node: ir.Node) -> Iterator[Histogram]:
    """The quantized weights that a node reads, as it reads them, without its bias."""
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        if value is None or maker is None or maker.op_type != "DequantizeLinear":
            continue
        codes, scale = constant(maker.inputs[0]), constant(maker.inputs[1])
        if codes is None or scale is None or len(codes.shape) < 2:
            continue
        zero = constant(maker.inputs[2]) if len(maker.inputs) > 2 else None
        steps = _spread(maker, scale.numpy().astype(np.float64), codes.shape.numpy())
        origin = 0.0 if zero is None else _spread(maker, zero.numpy().astype(np.float64), codes.shape.numpy())
        values = (codes.numpy().astype(np.float64) - origin) * steps
        if not np.isfinite(values).all():
            continue
        counts, edges = np.histogram(values, _BINS)
        yield Histogram(
            name=node.name or "", kind="weights", low=float(edges[0]), high=float(edges[-1]),
            counts=tuple(map(int, counts)), codes=_range(codes.dtype, steps, origin),
        )  # fmt: skip


def _activations(original: ir.Model, nodes: Sequence[ir.Node], samples: Given) -> Iterator[Histogram]:
    """What these nodes write, as the original computes it."""
    from graphopt.calibrate import collect

    known = {value.name for node in original.graph for value in node.outputs}
    named = {node.outputs[0].name: node for node in nodes if node.outputs and node.outputs[0].name in known}
    if not named or not samples:
        return
    try:
        found = collect(original, [name for name in named if name], lambda: samples)
    except GraphoptError:
        return  # the original does not run: the verification says so
    for name, stats in found.items():
        node = named[name]
        if not len(stats.bins) or stats.high <= stats.low:
            continue
        yield Histogram(
            name=node.name or "", kind="activations", low=stats.low, high=stats.high,
            counts=tuple(map(int, stats.bins.reshape(_BINS, -1).sum(1))), codes=_codes_of(node.outputs[0]),
        )  # fmt: skip


def _codes_of(value: ir.Value) -> tuple[float, float] | None:
    for use in value.uses():
        node = use.node
        if node.op_type == "QuantizeLinear" and use.idx == 0:
            scale = constant(node.inputs[1])
            zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if scale is not None and zero is not None:
                return _range(zero.dtype, scale.numpy().astype(np.float64), zero.numpy().astype(np.float64))
    return None


def _spread(node: ir.Node, parts: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Scales or zero points in the shape of what they scale: one for all, for each channel, or for each block."""
    if parts.ndim == 0 or parts.size == 1:
        return parts.reshape(())
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    if parts.ndim == 1:
        return parts.reshape([-1 if at == axis % len(shape) else 1 for at in range(len(shape))])
    block = -(-shape[axis] // parts.shape[axis])
    return np.take(np.repeat(parts, block, axis), np.arange(shape[axis]), axis)


def _range(dtype: ir.DataType, scale: np.ndarray, zero: np.ndarray | float) -> tuple[float, float] | None:
    """The values of the least and of the greatest code; None of codes that are no integers."""
    if not dtype.is_integer():
        return None
    least = -(2 ** (dtype.bitwidth - 1)) if dtype.is_signed() else 0
    ends = (least - zero) * scale, (least + 2**dtype.bitwidth - 1 - zero) * scale
    return float(np.min(ends[0])), float(np.max(ends[1]))
