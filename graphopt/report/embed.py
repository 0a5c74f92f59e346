"""A drawing as the page's script reads it: columns of small numbers, and every text once.

Positions stand for nodes, values, passes and texts; `graph.js` reads what is written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from graphopt.report.drawing import Drawing, Graph, Node
from graphopt.report.layout import layered
from graphopt.report.model import Report, Support
from graphopt.report.words import printable

_LETTER = 6.6
"""Pixels of a letter in a node."""
_PADDING, _LEAST, _MOST = 22.0, 56.0, 210.0


class _Texts:
    """Gives every text a position, the same for the same text."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.known.setdefault(printable(text), len(self.known))


def embed(report: Report, drawing: Drawing) -> dict[str, Any]:
    """The JSON object of a drawing, with what the report says of its nodes."""
    text = _Texts()
    taken = _taken(report)
    makers = dict.fromkeys([node.made_by for node in drawing.after.nodes if node.made_by] + [*taken.values()])
    ids = {name: position for position, name in enumerate(makers)}
    support = report.support
    before = _graph(drawing.before, text, support.before if support else None)
    after = _graph(drawing.after, text, support.after if support else None)
    sources = _sources(drawing)
    after["from"] = sources
    after["by"] = [ids.get(node.made_by, -1) for node in drawing.after.nodes]
    kept = {source for row in sources for source in row}
    before["by"] = [ids.get(taken.get(node.name, ""), -1) for node in drawing.before.nodes]
    before["gone"] = [int(position not in kept) for position in range(len(drawing.before.nodes))]
    layers = {layer.node: layer.metrics for layer in report.layers}
    after["layers"] = {
        position: {name: value for name, value in layers[node.name].items() if value is not None}
        for position, node in enumerate(drawing.after.nodes) if node.name in layers
    }  # fmt: skip
    return {
        "backend": report.backend or "", "supported": support is not None,
        "passes": [text(name) for name in ids], "before": before, "after": after, "texts": list(text.known),
    }  # fmt: skip


def _sources(drawing: Drawing) -> list[list[int]]:
    """The nodes of the original that each node stands for: those that it names, else the one of its own name."""
    known = {node.name: position for position, node in reversed(list(enumerate(drawing.before.nodes)))}
    return [
        sorted({known[name] for name in node.sources or (node.name,) if name in known}) for node in drawing.after.nodes
    ]


def _taken(report: Report) -> dict[str, str]:
    """The pass that took each node away, and its rule, where the passes wrote down what they rewrote."""
    taken: dict[str, str] = {}
    for record in report.passes:
        if record.outcome == "applied":
            for one in record.log:
                for name in one.removed:
                    taken.setdefault(name, f"{record.name}/{one.rule}")
    return taken


def _edges(graph: Graph) -> list[tuple[int, int]]:
    """Who reads from whom, among all that is drawn: the inputs, then the nodes, then the outputs."""
    first, end = len(graph.inputs), len(graph.inputs) + len(graph.nodes)
    makers: dict[int | None, int] = {value: position for position, value in enumerate(graph.inputs)}
    makers |= {value: position for position, node in enumerate(graph.nodes, first) for value in node.outputs}
    reads = ((value, at) for at, node in enumerate(graph.nodes, first) for value in (*node.inputs, *node.reads))
    taken = ((value, at) for at, value in enumerate(graph.outputs, end))
    return sorted({(makers[value], at) for value, at in (*reads, *taken) if value in makers})


def _graph(graph: Graph, text: _Texts, support: Support | None) -> dict[str, Any]:
    edges = _edges(graph)
    widths = [_wide(graph.values[v].name, graph.values[v].shape) for v in graph.inputs]
    widths += [_wide(node.op_type, _shape(graph, node)) for node in graph.nodes]
    widths += [_wide(graph.values[v].name, graph.values[v].shape) for v in graph.outputs]
    laid = layered(edges, widths)
    findings, verdicts = _verdicts(graph.nodes, support, text)
    return {
        "inputs": list(graph.inputs), "outputs": list(graph.outputs),
        "name": [text(node.name) for node in graph.nodes],
        "op": [text(node.op_type) for node in graph.nodes],
        "reads": [[-1 if value is None else value for value in node.inputs] for node in graph.nodes],
        "writes": [list(node.outputs) for node in graph.nodes],
        "attributes": [
            [text(part) for pair in node.attributes.items() for part in pair] for node in graph.nodes
        ],
        "body": {position: text(node.body) for position, node in enumerate(graph.nodes) if node.body},
        "macs": [-1 if node.macs is None else node.macs for node in graph.nodes],
        "weights": [[node.parameters, node.bytes] if node.bytes else 0 for node in graph.nodes],
        "values": [[text(v.name), text(f"{v.dtype} {v.shape}".strip()), int(v.constant)] for v in graph.values],
        "findings": findings, "verdict": verdicts,
        "edges": [end for edge in edges if edge[0] < edge[1] for end in edge],
        "row": laid.rows, "x": [round(x) for x in laid.x], "width": [round(width) for width in widths],
        "lines": {position: [round(x) for x in line] for position, line in enumerate(laid.lines) if line},
    }  # fmt: skip


def _shape(graph: Graph, node: Node) -> str:
    return graph.values[node.outputs[0]].shape if node.outputs else ""


def _wide(title: str, subtitle: str) -> float:
    return min(max(_LETTER * max(len(title), len(subtitle)) + _PADDING, _LEAST), _MOST)


def _verdicts(nodes: Sequence[Node], support: Support | None, text: _Texts) -> tuple[list[list[int]], list[list[int]]]:
    """The findings, each text once, and which of them each node has."""
    found: dict[tuple[str, str, str], int] = {}
    of: dict[str, list[int]] = defaultdict(list)
    for one in support.unsupported if support else ():
        of[one.node].append(found.setdefault((one.reason, one.evidence, one.remedy), len(found)))
    told = [[text(part) for part in finding] for finding in found]
    return told, [of.get(node.name, []) for node in nodes]
