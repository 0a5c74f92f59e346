"""Second moments of what weighted layers read, H = E[xxᵀ], over sampled columns: what rounding is weighed with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphopt.calibrate.layers import Floats, Layer, layers_of
from graphopt.calibrate.sweep import BUDGET, Samples, Tell, observe
from graphopt.calibrate.windows import columns

POSITIONS = 128
"""Columns of one layer that a sample gives at most."""
WIDEST = 4608
"""Columns of a layer up to which all products are kept; a wider one keeps those inside blocks of at most so many."""


@dataclass
class Moment:
    """E[xxᵀ] and E[x] of a layer's columns.

    Attributes:
        h: E[xxᵀ], (groups · blocks, width, width) of float32.
        mean: E[x], (groups · blocks, width).
        count: columns that it is of.
        blocks: runs of columns of a group between which no products are kept; the last one is filled up with zeros.
    """

    h: Floats
    mean: Floats
    count: int = 0
    blocks: int = 1

    @property
    def covariance(self) -> Floats:
        """E[xxᵀ] - E[x]E[x]ᵀ: what weighs an error whose mean the bias takes away."""
        centered: Floats = self.h - self.mean[:, :, None] * self.mean[:, None, :]
        return centered

    def split(self, matrix: np.ndarray) -> np.ndarray:
        """A layer's matrix (groups, outputs, columns) as (groups · blocks, outputs, width)."""
        groups, outputs, wide = matrix.shape
        width = self.h.shape[-1]
        if self.blocks == 1:
            return matrix
        filled = np.zeros((groups, outputs, width * self.blocks), matrix.dtype)
        filled[..., :wide] = matrix
        return filled.reshape(groups, outputs, self.blocks, width).swapaxes(1, 2).reshape(-1, outputs, width)

    def joined(self, parts: np.ndarray, wide: int) -> np.ndarray:
        """The inverse of `split`, for a matrix of `wide` columns."""
        if self.blocks == 1:
            return parts
        outputs, width = parts.shape[1:]
        whole = parts.reshape(-1, self.blocks, outputs, width).swapaxes(1, 2)
        return whole.reshape(-1, outputs, self.blocks * width)[..., :wide]

    def add(self, x: Floats) -> None:
        """Add columns (groups, columns, positions) to the means."""
        parts = self.split(x.swapaxes(1, 2)).swapaxes(1, 2)
        fresh = x.shape[-1]
        if not fresh or not np.isfinite(x).all():
            return
        kept, self.count = self.count / (self.count + fresh), self.count + fresh
        self.h *= np.float32(kept)
        self.h += np.matmul(parts, parts.swapaxes(1, 2)) * np.float32(1 / self.count)
        self.mean *= np.float32(kept)
        self.mean += parts.sum(-1) * np.float32(1 / self.count)


def moments(
    model: ir.Model, layers: Collection[str], samples: Samples, *, budget: int = BUDGET, tell: Tell | None = None
) -> dict[str, Moment]:
    """Moments of layers by name; all of them are held, `each_moment` holds no more than the budget."""
    return dict(each_moment(model, layers, samples, budget=budget, tell=tell))


def each_moment(
    model: ir.Model,
    layers: Collection[str],
    samples: Samples,
    *,
    budget: int = BUDGET,
    positions: int = POSITIONS,
    tell: Tell | None = None,
) -> Iterator[tuple[str, Moment]]:
    """Moments of what layers read, one after the other, with as many sweeps over the samples as the budget takes.

    Args:
        model: the model.
        layers: names of layers, which are those of their outputs; others are passed over.
        samples: the inputs, by name.
        budget: bytes of moments held at a time, and of values.
        positions: columns of one layer that a sample gives.
        tell: progress, of each run of sweeps by itself.

    Raises:
        UserError: there is no sample.
        ExecutionFailed: the model does not run on a sample.
    """
    asked = set(layers)
    waiting = [layer for layer in layers_of(model) if layer.name in asked]
    while waiting:
        now: dict[str, tuple[Layer, Moment]] = {}
        room = budget
        while waiting and (not now or _bytes(waiting[0]) <= room):
            layer = waiting.pop(0)
            room -= _bytes(layer)
            now[layer.name] = layer, _empty(layer)
        _measure(model, now, samples, budget, positions, tell)
        for name in list(now):
            yield name, now.pop(name)[1]


def _measure(
    model: ir.Model,
    now: dict[str, tuple[Layer, Moment]],
    samples: Samples,
    budget: int,
    positions: int,
    tell: Tell | None,
) -> None:
    readers: dict[str, list[str]] = {}
    for name, (layer, _) in now.items():
        readers.setdefault(layer.input.name or "", []).append(name)
    seeds = {name: place for place, name in enumerate(now)}

    def take(value: str, array: np.ndarray, number: int) -> None:
        for name in readers[value]:
            layer, moment = now[name]
            # The positions depend on nothing but the layer and the sample: the same call gives the same moments.
            moment.add(columns(layer, array, positions, np.random.default_rng([seeds[name], number])))

    observe(model, list(readers), samples, take, budget=budget, tell=tell)


def _blocks(layer: Layer) -> tuple[int, int]:
    blocks = -(-layer.columns // WIDEST)
    return blocks, -(-layer.columns // blocks)


def _bytes(layer: Layer) -> int:
    blocks, width = _blocks(layer)
    return 4 * layer.groups * blocks * width * width


def _empty(layer: Layer) -> Moment:
    blocks, width = _blocks(layer)
    many = layer.groups * blocks
    return Moment(np.zeros((many, width, width), np.float32), np.zeros((many, width), np.float32), blocks=blocks)
