"""Numbers as lengths: what the page's static drawings are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from graphopt.report.drawing import Graph, Node
from graphopt.report.model import Histogram, Layer, PassRecord, Report, Segment

_TOP = 30
_REMOVED = {"layer", "kind", "before", "after"}


@dataclass(frozen=True)
class Bar:
    """Where the bars of a pass lie, in percent of the widest.

    `kept` nodes stayed, `gone` left, `new` came; `start` and `time` place the pass on the time line of all passes.
    """

    kept: float
    gone: float
    new: float
    start: float
    time: float


@dataclass(frozen=True)
class Share:
    """One row of a ranking: a name, a number, and its length in percent of the largest."""

    name: str
    op_type: str
    amount: float
    length: float
    share: float


@dataclass(frozen=True)
class Ranking:
    """The largest of many, what the rest comes to, and the sum."""

    rows: tuple[Share, ...]
    rest: float
    others: int
    total: float


def bars(passes: Sequence[PassRecord]) -> list[Bar]:
    """The bars of each pass."""
    most = max((max(p.nodes_before, p.nodes_after) for p in passes), default=0) or 1
    total = sum(p.seconds for p in passes) or 1.0
    ends = accumulate(p.seconds for p in passes)
    return [
        Bar(
            kept=100 * min(p.nodes_before, p.nodes_after) / most,
            gone=100 * max(p.nodes_before - p.nodes_after, 0) / most,
            new=100 * max(p.nodes_after - p.nodes_before, 0) / most,
            start=100 * (end - p.seconds) / total,
            time=100 * p.seconds / total,
        )
        for p, end in zip(passes, ends, strict=True)
    ]


def ranking(graph: Graph, key: str) -> Ranking:
    """The nodes of a graph with the most of `key`, one of "macs", "bytes" and "parameters"."""
    found = [(getattr(node, key) or 0, node) for node in graph.nodes]
    counted: list[tuple[int, Node]] = sorted((one for one in found if one[0] > 0), key=lambda one: -one[0])
    total = sum(amount for amount, _ in counted)
    top = counted[:_TOP]
    rows = tuple(
        Share(node.name, node.op_type, amount, 100 * amount / top[0][0], 100 * amount / total) for amount, node in top
    )
    return Ranking(rows, sum(amount for amount, _ in counted[_TOP:]), len(counted) - len(top), total)


def removed(passes: Sequence[PassRecord]) -> list[dict[str, object]]:
    """What was pruned where, as passes told it: layer, kind, channels before and after, and both in percent."""
    told = [record.metrics.get("removed") for record in passes if record.outcome == "applied"]
    rows = [row for rows in told if isinstance(rows, list | tuple) for row in rows if _is_removal(row)]
    most = max((row["before"] for row in rows), default=1) or 1
    return [
        {**row, "kept": 100 * row["after"] / most, "gone": 100 * (row["before"] - row["after"]) / most} for row in rows
    ]


def _is_removal(row: object) -> bool:
    return isinstance(row, Mapping) and set(row) >= _REMOVED


def outline(histogram: Histogram, width: float = 240.0, height: float = 64.0) -> str:
    """The path of a histogram's bars, as an SVG path from the lower left corner."""
    most = max(histogram.counts, default=0) or 1
    step = width / max(len(histogram.counts), 1)
    heights = (height * (1 - count / most) for count in histogram.counts)
    return f"M0 {height:g}" + "".join(f"V{top:.1f}h{step:.2f}" for top in heights) + f"V{height:g}Z"


def coded(histogram: Histogram, width: float = 240.0) -> tuple[float, float] | None:
    """Where the range of the codes begins and ends in the picture of a histogram, None where it has none."""
    if histogram.codes is None or histogram.high <= histogram.low:
        return None
    least, most = (width * (end - histogram.low) / (histogram.high - histogram.low) for end in histogram.codes)
    return min(max(least, 0.0), width), max(min(most, width), 0.0)


def worst_first(layers: Sequence[Layer], metric: str = "sqnr_db") -> list[Layer]:
    """Layers with the least of a metric first; those without it last."""

    def key(layer: Layer) -> tuple[bool, float]:
        value = layer.metrics.get(metric)
        return value is None, 0.0 if value is None else value

    return sorted(layers, key=key)


def pieces(report: Report) -> list[tuple[Segment, float]]:
    """The pieces of the fallback partition with their length in percent, by nodes; none where it is one piece."""
    partition = report.partition
    segments = partition.segments if partition is not None and len(partition.segments) > 1 else ()
    total = sum(segment.nodes for segment in segments) or 1
    return [(segment, 100 * segment.nodes / total) for segment in segments]
