"""A difference in few lines: what happened many times in the same way is told once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from graphopt.diff.model import Change, Difference, Group, Node, NodeChange
from graphopt.report import words

_SHOWN = 8
"""Kinds of operators of one side of a rewrite that are named."""
_LONGEST = 60
"""Characters of a value, as of an attribute, that are shown."""


@dataclass(frozen=True)
class Told:
    """One line.

    Attributes:
        count: how often it happened.
        what: as "Conv + BatchNormalization → Conv".
        nodes: where.
        by: the pass that did it, "" where that is not known.
    """

    count: int
    what: str
    nodes: tuple[str, ...]
    by: str = ""


def rewrites(found: Iterable[Group]) -> list[Told]:
    """Groups with the same operators on both sides together."""
    alike: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for group in found:
        before, after = (_sum(side) for side in (group.operators_before, group.operators_after))
        alike[before, after, group.by].append(group.before[0])
    return _most_first(Told(len(at), f"{old} → {new}", tuple(at), by) for (old, new, by), at in alike.items())


def same_changes(found: Iterable[NodeChange]) -> list[Told]:
    """Nodes of one operator with the same changes together."""
    alike: dict[str, list[str]] = defaultdict(list)
    for node in found:
        what = "; ".join(f"{change.what}: {arrow(change)}" for change in node.changes)
        alike[f"{node.op_type}  {what}"].append(node.node)
    return _most_first(Told(len(at), what, tuple(at)) for what, at in alike.items())


def same_operators(found: Iterable[Node]) -> list[Told]:
    """Nodes of one operator, made by the same pass, together."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in found:
        alike[node.op_type, node.by].append(node.node)
    return _most_first(Told(len(at), what, tuple(at), by) for (what, by), at in alike.items())


def arrow(change: Change) -> str:
    """What it was and what it is, long texts cut short."""
    return " → ".join("—" if text is None else _short(text) for text in (change.before, change.after))


def totals(found: Difference) -> list[tuple[str, str, str, str]]:
    """Rows of a table: the name, the first's, the second's, and the change."""
    a, b = found.first, found.second
    rows: list[tuple[str, Callable[[float], str], int, int]] = [
        ("nodes", str, a.nodes, b.nodes), ("parameters", words.quantity, a.parameters, b.parameters),
        ("bytes", words.size, a.bytes, b.bytes), ("MACs", words.quantity, a.macs, b.macs),
        ("peak of values", words.size, a.activation_peak, b.activation_peak),
    ]  # fmt: skip
    told = [(name, form(x), form(y), words.change(x, y)) for name, form, x, y in rows]
    for name in dict.fromkeys((*a.operators, *b.operators)):
        before, after = a.operators.get(name, 0), b.operators.get(name, 0)
        if before != after:
            told.append((f"  {name}", str(before), str(after), f"{after - before:+d}".replace("-", "−")))
    return told


def _short(text: str) -> str:
    text = text or "empty"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _sum(operators: Iterable[str]) -> str:
    counts = Counter(operators)
    named = [name if count == 1 else f"{count} {name}" for name, count in list(counts.items())[:_SHOWN]]
    rest = sum(counts.values()) - sum(list(counts.values())[:_SHOWN])
    return " + ".join(named) + (f" + {rest} others" if rest else "")


def _most_first(lines: Iterable[Told]) -> list[Told]:
    return sorted(lines, key=lambda line: -line.count)
