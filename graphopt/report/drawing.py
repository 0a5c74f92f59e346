"""What the page draws: the graph before and after, as plain data that whoever ran the passes fills in.

Not part of report.json, which would grow with the graph; the page alone holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor of a graph, as "x", "float32", "1×3×224×224"; `constant` where it is a weight."""

    name: str
    dtype: str = ""
    shape: str = ""
    constant: bool = False


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of a graph.

    Attributes:
        name: as findings and provenance call it.
        op_type: its operator, with the domain where that is not ONNX's own.
        inputs, outputs: positions in the graph's values; None for an input that is left out.
        reads: values that it depends on besides, as the results of its bodies.
        attributes: as short texts.
        made_by: the pass that made it, "" where it is the user's own.
        sources: names of the nodes of the original that it came from.
        body: where it lies in a body, as "then_branch of If_3".
        macs: multiply-accumulates, None where the shapes are not known.
        parameters, bytes: of the weights that it is the first to read.
    """

    name: str
    op_type: str
    inputs: tuple[int | None, ...] = ()
    outputs: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    made_by: str = ""
    sources: tuple[str, ...] = ()
    body: str = ""
    macs: int | None = None
    parameters: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph whose nodes come after those they read from; `inputs` and `outputs` are positions in `values`."""

    nodes: tuple[Node, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The original and the optimized graph."""

    before: Graph
    after: Graph
