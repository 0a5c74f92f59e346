"""Static quantization: statistics of the user's samples, one grid a group of values, and the rewriting."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import onnx_ir as ir

from graphopt.calibrate import TensorStats, collect
from graphopt.errors import UserError
from graphopt.ir import infer_shapes
from graphopt.quantize import grid as grids
from graphopt.quantize.grid import Grid
from graphopt.quantize.insert import Inserted, drop_unread, insert
from graphopt.quantize.methods.bias import correct_biases
from graphopt.quantize.plan import Plan, origins, plan
from graphopt.quantize.ranges import Method, Range, choose
from graphopt.quantize.scheme import Codes, Scheme
from graphopt.quantize.weight_only import quantize_weights
from graphopt.quantize.weights import least_error, nearest, weight_grids
from graphopt.verify import run
from graphopt.verify.metrics import is_float

_TRIED: tuple[Method, ...] = ("minmax", "percentile", "mse", "octav")
_TRIED_ON = 6
Sample = Mapping[str, np.ndarray]
Samples = Callable[[], Iterable[Sample]]


@dataclass(frozen=True)
class Static:
    """What was quantized.

    Attributes:
        plan: what computes with codes.
        done: what was written.
        stats: of the values that became codes, by name.
        method: how their ranges were chosen.
        raised: how many channels' weights have a wider scale for the sake of their bias.
        corrected: how many layers' biases were corrected.
    """

    plan: Plan
    done: Inserted
    stats: Mapping[str, TensorStats]
    method: Method
    raised: int = 0
    corrected: int = 0


def quantize_static(
    model: ir.Model,
    scheme: Scheme,
    samples: Samples,
    *,
    method: Method | Literal["auto"] = "auto",
    rounding: bool = True,
    correct: bool = True,
    excluded: Sequence[ir.Node] = (),
    known: Mapping[str, Range] | None = None,
    made_by: str = "quantize",
) -> Static | None:
    """Quantize weights and activations of a model in place.

    Args:
        model: with shapes and types inferred.
        scheme: with codes for activations.
        samples: begins the samples anew at each call.
        method: how ranges are chosen, see `ranges`; "auto" is the best of a few, measured.
        rounding: round weights so that the layers' results have the least error, not the weights.
        correct: take the mean of each layer's error away by its bias.
        excluded: nodes that stay in float.
        known: ranges that values had in a model that was quantized before, by name; these keep them.
        made_by: name of the pass.

    Returns:
        What was done; None, with nothing changed, where the model has nothing that the scheme quantizes.

    Raises:
        UserError: there is no sample.
    """
    assert scheme.activations is not None
    found, stats = _measured(model, scheme, samples, excluded)
    if not found.units:
        return None
    if method == "auto":
        method = best_method(model, found, stats, scheme, samples)
    chosen = choose_grids(found, stats, scheme.activations, method, known or {})
    weights, raised = weight_grids(found, chosen, scheme)
    codes = least_error(model, found, weights, samples, centered=False) if rounding else nearest(found, weights)
    reference = model.clone() if correct else None
    if "Gather" in scheme.weighted:
        quantize_weights(model, scheme, only=["Gather"], excluded=excluded, made_by=made_by)
    done = insert(model, found, chosen, weights, codes, scheme, made_by)
    shifts = correct_biases(reference, model, samples) if reference is not None else {}
    drop_unread(model.graph)
    return Static(found, done, stats, method, raised, len(shifts))


def _measured(
    model: ir.Model, scheme: Scheme, samples: Samples, excluded: Sequence[ir.Node]
) -> tuple[Plan, dict[str, TensorStats]]:
    """A plan of values of which something was seen, and what."""
    keep: set[ir.Value] = set()
    stats: dict[str, TensorStats] = {}
    found = plan(model, scheme, excluded)
    while found.units:
        wanted = [value for value in found.values if value.name not in stats]
        if wanted:
            seen = collect(model, [value.name or "" for value in wanted], samples)
            stats.update({value.name or "": seen.get(value.name or "", TensorStats()) for value in wanted})
        bad = {value for value in found.values if not _usable(stats[value.name or ""])}
        if not bad:
            break
        if len(bad) == len(stats) and not any(one.count or one.nonfinite for one in stats.values()):
            raise UserError("quantize: there are no samples to measure ranges on: give --calibration at least one")
        keep |= bad
        found = plan(model, scheme, excluded, keep)
    return found, stats


def _usable(stats: TensorStats) -> bool:
    """Whether a value has a range: something was seen of it, and no infinity or NaN."""
    return bool(stats.count) and not stats.nonfinite and max(-stats.minimum, stats.maximum) < 1e30


def best_method(
    model: ir.Model, found: Plan, stats: Mapping[str, TensorStats], scheme: Scheme, samples: Samples
) -> Method:
    """The method whose ranges leave the model's results closest to those in float, on the first samples.

    No method is best on every model: what clipping costs depends on what reads the values.
    """
    few = list(itertools.islice(samples(), _TRIED_ON))
    expected = _results(model, few)
    errors = {}
    for method in _TRIED:
        # The plan is of values of one model, so each copy needs a plan of its own.
        copy = model.clone()
        infer_shapes(copy)
        keep = {node.name for unit in found.units for node in unit.nodes}
        own = plan(copy, scheme, [node for node in copy.graph if node.name not in keep])
        assert scheme.activations is not None
        grids_ = choose_grids(own, stats, scheme.activations, method)
        weights, _ = weight_grids(own, grids_, scheme)
        insert(copy, own, grids_, weights, nearest(own, weights), scheme, "quantize")
        actual = _results(copy, few)
        errors[method] = sum(float(np.square(a - b).sum()) for a, b in zip(expected, actual, strict=True))
    return min(errors, key=lambda method: errors[method])


def _results(model: ir.Model, samples: Sequence[Sample]) -> list[np.ndarray]:
    """All floating-point outputs of each sample in one row."""
    found = []
    for sample in run(model, samples):
        arrays = [array.astype(np.float64).ravel() for array in sample.values() if is_float(array.dtype)]
        found.append(np.nan_to_num(np.concatenate(arrays)) if arrays else np.zeros(0))
    return found


def choose_grids(
    found: Plan,
    stats: Mapping[str, TensorStats],
    kind: Codes,
    method: Method,
    known: Mapping[str, Range] = MappingProxyType({}),
) -> dict[ir.Value, Grid]:
    """The grid of each group: prescribed, or over the widest of the ranges of its members."""
    made = {}
    for root, members in origins(found).items():
        if root in found.prescribed:
            made[root] = grids.fixed(*found.prescribed[root], kind)
            continue
        names = [value.name or "" for value in members]
        ranges = [known[name] if name in known else choose(stats[name], kind, method) for name in names]
        made[root] = grids.from_range(min(low for low, _ in ranges), max(high for _, high in ranges), kind)
    return made
