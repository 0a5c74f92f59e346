"""What a report says beyond the contract: where pieces run, how fast, and what layers lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Nodes that run in one piece, on the target or beside it.

    Attributes:
        first, last: names of the nodes it begins and ends with.
        macs: multiply-accumulates, of nodes with static shapes.
    """

    supported: bool
    nodes: int
    first: str
    last: str
    macs: int = 0


@dataclass(frozen=True, kw_only=True)
class Partition:
    """What a fallback would make of the optimized model's main graph.

    Attributes:
        segments: in the order in which they run.
        crossing_bytes: what would cross between the target and the fallback in one inference.
    """

    segments: tuple[Segment, ...]
    crossing_bytes: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured time of one inference before and after, in milliseconds, and the runtime that it was measured in."""

    original_ms: float
    optimized_ms: float
    runtime: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Numbers about one node of the optimized model, by metric name, as {"sqnr_db": 41.0, "macs": 1e6}."""

    node: str
    op_type: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How the values of a tensor are spread, and over which range they got codes.

    Attributes:
        name: of the tensor.
        kind: "weights" or "activations".
        low, high: the ends of the counted range, split into as many bins of the same width as there are counts.
        counts: values in each bin.
        codes: the values of the least and the greatest code, None where it is stored in float; of several channels,
            the widest.
    """

    name: str
    kind: Literal["weights", "activations"]
    low: float
    high: float
    counts: tuple[int, ...]
    codes: tuple[float, float] | None = None
