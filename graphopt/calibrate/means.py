"""Per-channel means of what nodes write: small, so the model itself takes them and nothing large leaves it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from graphopt.calibrate.sweep import BUDGET, Samples, Tell, observe

Means = np.ndarray


def channel_means(
    model: ir.Model,
    axes: Mapping[str, int],
    samples: Samples,
    *,
    budget: int = BUDGET,
    tell: Tell | None = None,
) -> dict[str, Means]:
    """Mean of values over all axes but one, and over all samples.

    Args:
        model: the model.
        axes: the axis that is kept, by value.
        samples: the inputs, by name.
        budget: bytes of values held at a time.
        tell: progress.

    Returns:
        (channels,) by value.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    sums: dict[str, Means] = {}
    counts: dict[str, int] = {}

    def take(name: str, array: np.ndarray, _: int) -> None:
        total, count = channel_sum(array, axes[name])
        sums[name] = sums.get(name, 0.0) + total
        counts[name] = counts.get(name, 0) + count

    observe(model, list(axes), samples, take, budget=budget, tell=tell)
    return {name: total / max(counts[name], 1) for name, total in sums.items()}


def channel_sum(array: np.ndarray, axis: int) -> tuple[Means, int]:
    """Sum over all axes but one, and how many elements a channel has."""
    kept = axis % array.ndim
    others = tuple(i for i in range(array.ndim) if i != kept)
    total: Means = array.sum(axis=others, dtype=np.float64)
    return total, array.size // max(array.shape[kept], 1)
