"""What flows through a model on samples, in constant memory: means and second moments of channels.

Values are asked for as additional outputs, as many at a time as fit a budget of bytes; each sample is folded into the
sums and forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from graphopt.channels.graph import Shapes
from graphopt.verify import Runner
from graphopt.verify.types import Array

_BUDGET = 256 << 20
_ROWS = 512
"""Positions of a sample that count: more hardly change the moments."""
_WIDEST = 2048
"""Channels up to which the moments of pairs are kept; beyond, only each channel's own."""


@dataclass
class Moments:
    """Sums over the positions of a value, channel by channel.

    Attributes:
        size: number of channels.
        count: positions seen.
        independent: how many of them count as independent: of a sample's, the square root.
        total: their sum, shape (channels,).
        square: Σ x xᵀ, shape (channels, channels); its diagonal alone, shape (channels,), where there are too many.
    """

    size: int
    count: int = 0
    independent: float = 0.0
    total: Array = field(init=False)
    square: Array = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.size)
        self.square = np.zeros((self.size, self.size) if self.size <= _WIDEST else self.size)

    def add(self, rows: Array) -> None:
        """Fold in positions, shape (positions, channels)."""
        rows = np.nan_to_num(rows.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        self.count += len(rows)
        self.independent += np.sqrt(len(rows))
        self.total += rows.sum(axis=0, dtype=np.float64)
        self.square += rows.T @ rows if self.square.ndim == 2 else np.square(rows).sum(axis=0)

    def covariance(self) -> Array:
        """The covariance of the channels, or their variances where there are too many."""
        mean = self.total / max(self.count, 1)
        product = np.outer(mean, mean) if self.square.ndim == 2 else mean * mean
        return self.square / max(self.count, 1) - product


def observe(
    model: ir.Model, values: Sequence[ir.Value], samples: Iterable[Mapping[str, Array]]
) -> Iterator[dict[str, Array]]:
    """Run a model and yield the given values of each sample by name; the model is left as it is."""
    copy = model.clone()
    known = {value.name: value for value in _main_values(copy)}
    wanted = [known[value.name] for value in values if value.name in known]
    already = {value.name for value in copy.graph.outputs}
    for value in wanted:
        if value.name not in already:
            value.shape = None
            copy.graph.outputs.append(value)
            already.add(value.name)
    runner = Runner(copy)
    names = {value.name or "" for value in wanted}
    for sample in samples:
        yield {name: array for name, array in runner.run(sample).items() if name in names}


def channel_moments(
    model: ir.Model, asked: Sequence[tuple[ir.Value, int]], samples: Sequence[Mapping[str, Array]], shapes: Shapes
) -> dict[ir.Value, Moments]:
    """The moments of the channels of values.

    Args:
        model: left as it is.
        asked: values of the main graph with their channel axis.
        samples: inputs by name.
        shapes: of all values.
    """
    inputs = set(model.graph.inputs)
    found: dict[ir.Value, Moments] = {}
    for part in _parts([pair for pair in asked if _is_main(pair[0], model, inputs)], shapes):
        moments = {value.name or "": (Moments(shapes[value][axis]), axis, value) for value, axis in part}
        fed = [value for value, _ in part if value in inputs]
        others = [value for value, _ in part if value not in inputs]
        for number, (sample, run) in enumerate(zip(samples, observe(model, others, samples), strict=True)):
            for name, array in {**run, **{value.name or "": sample[value.name or ""] for value in fed}}.items():
                one, axis, _ = moments[name]
                one.add(rows_of(array, axis, number))
        found.update({value: one for one, _, value in moments.values()})
    return found


def rows_of(array: Array, axis: int, seed: int) -> Array:
    """Positions of a value as rows of channels; a fixed random choice where there are many."""
    moved = np.moveaxis(array, axis, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    if len(rows) > _ROWS:
        rows = rows[np.random.default_rng(seed).choice(len(rows), _ROWS, replace=False)]
    return rows


def _parts(asked: list[tuple[ir.Value, int]], shapes: Shapes) -> Iterator[list[tuple[ir.Value, int]]]:
    part: list[tuple[ir.Value, int]] = []
    held = 0
    for value, axis in asked:
        width = shapes[value][axis]
        size = 4 * math.prod(shapes[value]) + 8 * width * (width if width <= _WIDEST else 1)
        if part and held + size > _BUDGET:
            yield part
            part, held = [], 0
        part.append((value, axis))
        held += size
    if part:
        yield part


def _is_main(value: ir.Value, model: ir.Model, inputs: set[ir.Value]) -> bool:
    node = value.producer()
    return value in inputs or (node is not None and node.graph is model.graph)


def _main_values(model: ir.Model) -> Iterator[ir.Value]:
    for node in model.graph:
        yield from node.outputs
