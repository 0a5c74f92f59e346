"""Where a quantized model goes wrong: the error of every value that the float model also has, sample by sample.

The error of a value is what has come together up to it. What makes it worse is where the SQNR falls: `Drift.fall_db` is
how much less a node's output has than the worst of its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import BUDGET, Samples
from graphopt.calibrate.sweep import begun, first_of, parts_of, prepared, runner_for, sizes_of
from graphopt.errors import UserError
from graphopt.quantize.twins import Twins

LIMIT_DB = 300.0
_EXACT_DB = 60.0
"""From here on inputs count as exact: rounding the first of them is no fall from there to what codes can tell."""
_MOVES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Drift:
    """The error of what one node writes.

    Attributes:
        node: its name, or its output's where it has none.
        op_type: its operator.
        value: its output in the float model.
        sqnr_db: 10·log10(Σy² / Σ(y - ŷ)²) over all samples, within ±300 dB.
        fall_db: by how much that is below the worst of its inputs, or 60 dB; 0 where it is above, or they are unknown.
        mean_shift: the mean of ŷ - y over √(mean of y²): large where a bias is off.
    """

    node: str
    op_type: str
    value: str
    sqnr_db: float
    fall_db: float
    mean_shift: float


def drifts(reference: ir.Model, quantized: ir.Model, samples: Samples, *, budget: int = BUDGET) -> list[Drift]:
    """Compare all values that nodes of both models write, in the order of the quantized graph.

    Args:
        reference: the float model.
        quantized: what was made of it.
        samples: the inputs, by name.
        budget: bytes of values held at a time, of each model.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: one of the models does not run.
    """
    twins = Twins(reference)
    pairs: dict[str, tuple[str, ir.Node]] = {}
    for node in quantized.graph:
        same = twins.find(node) if node.outputs and node.op_type not in (*_MOVES, "Constant") else None
        if same and node.outputs[0].name:
            pairs[node.outputs[0].name] = same, node
    sums = _summed(reference, quantized, {name: same for name, (same, _) in pairs.items()}, samples, budget)
    decibels = {name: _decibels(total[0], total[1]) for name, total in sums.items()}
    return [
        Drift(
            node.name or same, node.op_type, same, decibels[name],
            max(0.0, min(_inputs(node, decibels), _EXACT_DB) - decibels[name]),
            float(sums[name][2] / math.sqrt(max(sums[name][0] * sums[name][3], 1e-300))),
        )
        for name, (same, node) in pairs.items() if name in sums
    ]  # fmt: skip


def worst(found: list[Drift], most: int = 5) -> list[Drift]:
    """The nodes at which the SQNR falls most, the worst first; those that lose less than 1 dB are left out."""
    return sorted((one for one in found if one.fall_db >= 1), key=lambda one: -one.fall_db)[:most]


def _summed(
    reference: ir.Model, quantized: ir.Model, pairs: dict[str, str], samples: Samples, budget: int
) -> dict[str, np.ndarray]:
    """Σy², Σ(y - ŷ)², Σ(ŷ - y) and the number of elements, by value of the quantized model."""
    first = first_of(samples)
    if first is None:
        raise UserError("there is no sample to compare on: give --calibration at least one")
    sums: dict[str, np.ndarray] = {}
    with prepared(reference) as left, prepared(quantized) as right:
        sizes = sizes_of(right, list(pairs), first)
        for part in parts_of(sizes, budget):
            names = list(dict.fromkeys(pairs[name] for name in part))
            one, other = runner_for(left, names), runner_for(right, part)
            for sample in begun(samples):
                wanted, got = one.run(sample), other.run(sample)
                for name in part:
                    y, z = wanted.get(pairs[name]), got.get(name)
                    if y is None or z is None or y.shape != z.shape or y.dtype.kind != "f":
                        continue
                    y = y.astype(np.float64)
                    error = z - y
                    ok = np.isfinite(error)
                    error, y = np.where(ok, error, 0), np.where(ok, y, 0)
                    fresh = np.array([np.square(y).sum(), np.square(error).sum(), error.sum(), y.size])
                    sums[name] = sums.get(name, np.zeros(4)) + fresh
    return sums


def _decibels(signal: float, noise: float) -> float:
    if noise <= 0:
        return LIMIT_DB
    return float(min(max(10 * math.log10(max(signal, 1e-300) / noise), -LIMIT_DB), LIMIT_DB))


def _inputs(node: ir.Node, decibels: dict[str, float]) -> float:
    """The worst SQNR among a node's inputs, -∞ where none is known."""
    known = [decibels[name] for name in _sources(node) if name in decibels]
    return min(known, default=-math.inf)


def _sources(node: ir.Node) -> Iterator[str]:
    """Names of what a node reads, as before quantization."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        while producer is not None and producer.op_type in _MOVES:
            value = producer.inputs[0]
            producer = value.producer() if value is not None else None
        if value is not None and value.name:
            yield value.name
