"""An inspection on the terminal: the totals, the operators, then the layers that cost most, or all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphopt.inspection.facts import Inspection, Layer
from graphopt.report import words

_MOST = 10
"""Layers and operators that are shown where not all are asked for."""


def rendered(
    found: Inspection, *, every: bool = False, refused: Mapping[str, Collection[str]] | None = None
) -> RenderableType:
    """What `graphopt inspect` prints.

    Args:
        found: the facts.
        every: all layers in order, instead of those with the most multiply-accumulates.
        refused: by backend, the names of the nodes that it does not take; None where no backend was asked.
    """
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for topic, text in _facts(found):
        facts.add_row(f"  {topic}", Text(words.printable(text)))
    for backend, nodes in (refused or {}).items():
        answer = Text(f"takes {found.nodes - len(nodes)} of {found.nodes} nodes", "red" if nodes else "green")
        facts.add_row(f"  {backend}", answer)
    heading = Text.assemble((words.printable(found.path), "bold"), f"  {words.plural(found.nodes, 'node')}")
    shown = list(found.layers) if every else sorted(found.layers, key=lambda layer: -(layer.macs or 0))[:_MOST]
    title = "Layers" if every else "Layers with the most MACs" if found.macs else "Layers"
    parts = [heading, Text(), facts, Text(), Text(title, "bold"), _layers(shown, found, refused or {})]
    if len(shown) < len(found.layers):
        parts.append(Text(f"  and {len(found.layers) - len(shown)} others: --layers shows all", "dim"))
    return Group(*parts)


def _facts(found: Inspection) -> list[tuple[str, str]]:
    opsets = ", ".join(f"{name} {version}" for name, version in found.opsets.items())
    kinds = ", ".join(f"{words.size(count)} {name}" for name, count in found.weights.items())
    told = [
        ("file", f"{words.size(found.bytes)}, IR version {found.ir_version}, opset {opsets}"
                 + (f", by {found.producer}" if found.producer else "")),
        *(("input", f"{name}  {text}") for name, text in found.inputs.items()),
        *(("output", f"{name}  {text}") for name, text in found.outputs.items()),
        ("parameters", f"{words.quantity(found.parameters)}" + (f" ({kinds})" if kinds else "")),
        ("MACs", _or_none(words.quantity(found.macs), found.unknown, "node", "cannot be counted: shapes unknown")),
        ("moved", f"{words.size(found.moved)} read and written by all nodes"),
        ("peak", _or_none(words.size(found.activation_peak) + " of values at once"
                          + (f", at {found.peak_at}" if found.peak_at else ""),
                          found.unsized, "value", "without a known size left out")),
    ]  # fmt: skip
    if found.dynamic:
        sizes = " ".join(f"{name}={'x'.join(map(str, size))}" for name, size in found.sizes.items() if size)
        told.append(("sizes", f"all of this at {sizes}; --dim sets others" if sizes else "open; --dim sets them"))
    told.append(("quantized", found.quantization or "no"))
    if found.subgraphs or found.functions:
        graphs, functions = words.plural(found.subgraphs, "graph"), words.plural(found.functions, "function")
        told.append(("inside", f"{graphs} of control flow, {functions}"))
    names = list(found.operators.items())
    more = f" and {len(names) - _MOST} other operators" if len(names) > _MOST else ""
    told.append(("operators", ", ".join(f"{count} {name}" for name, count in names[:_MOST]) + more))
    return told


def _or_none(text: str, left_out: int, noun: str, why: str) -> str:
    return f"{text}; {words.plural(left_out, noun)} {why}" if left_out else text


def _mark(layer: Layer, refused: Collection[str]) -> Text:
    return Text("✗", "red") if layer.name.removeprefix("-> ") in refused else Text("✓", "green")


def _layers(layers: Sequence[Layer], found: Inspection, refused: Mapping[str, Collection[str]]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Node", "Operator", "Output"):
        table.add_column(title, overflow="fold")
    for title in ("Parameters", "MACs", "Share", "Moved"):
        table.add_column(title, justify="right", no_wrap=True)
    for backend in refused:
        table.add_column(backend)
    for layer in layers:
        share = f"{100 * layer.macs / found.macs:.1f} %" if layer.macs and found.macs else ""
        table.add_row(
            Text(words.printable(layer.name)), Text(words.printable(layer.op_type)),
            Text(words.printable(layer.output)), words.quantity(layer.parameters) if layer.parameters else "",
            "?" if layer.macs is None else words.quantity(layer.macs) if layer.macs else "", share,
            words.size(layer.moved),
            *(_mark(layer, nodes) for nodes in refused.values()),
        )  # fmt: skip
    return Padding(table, (0, 0, 0, 2))
