"""The support matrix: every operator by every backend, with the measured conditions, as Markdown out of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.support.table import Row, Table

_MARKS = {"native": "yes", "emulated": "yes, decomposed", "fallback": "on the CPU", "documented": "documented"}
_HEAD = """# Support matrix

Generated from the measured tables; `make docs` writes it, nobody edits it. A cell says whether the toolchain takes
the operator in its base form, and how many measured conditions it puts on it; the conditions follow below. What no
probe has measured is not promised: `graphopt check` says so of a node.
"""


def matrix(tables: Sequence[Table]) -> str:
    """The matrix of several tables, operators in alphabetical order, those of ONNX itself first.

    Args:
        tables: in the order of their columns.
    """
    names = sorted({key for table in tables for key in table.by_op})
    lines = [_HEAD, *(f"- **{t.backend}**: {t.toolchain}, {t.execution or 'compiled'}, {t.date}" for t in tables), ""]
    lines += ["| operator | " + " | ".join(t.backend for t in tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for key in names:
        cells = [_cell(table.by_op.get(key, [])) for table in tables]
        lines.append(f"| {_link(key)} | " + " | ".join(cells) + " |")
    lines += ["", "## Conditions", ""]
    for key in names:
        told = [(table.backend, line) for table in tables for line in _conditions(table.by_op.get(key, []))]
        if told:
            lines += [f"### {_name(key)}", ""]
            lines += [f"- {backend}: {line}" for backend, line in dict.fromkeys(told)]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _name(key: tuple[str, str]) -> str:
    return f"{key[0]}::{key[1]}" if key[0] else key[1]


def _link(key: tuple[str, str]) -> str:
    return f"[{_name(key)}](#{_name(key).lower().replace('.', '').replace(':', '')})"


def _cell(rows: Sequence[Row]) -> str:
    taken = [row for row in rows if row.status != "unsupported"]
    if not rows:
        return "not measured"
    if not taken:
        return "no"
    row = taken[-1]
    count = sum(condition.effect != "unmeasured" for condition in row.require)
    return _MARKS[row.status] + (f", {count} condition{'s' * (count > 1)}" if count else "")


def _conditions(rows: Sequence[Row]) -> list[str]:
    """What the vendor was seen to refuse or to get wrong, by version; unmeasured ground is left out."""
    found = []
    for row in rows:
        first, last = row.since
        versions = f"version {first}" if first == last else f"versions {first} to {last}"
        if row.status == "unsupported":
            words = f": {row.says}" if row.says else ""
            found.append(f"{versions}: {row.effect or 'rejected'}{_plain(words)}")
        found += [
            f"{versions}: {_plain(condition.must.sentence())} ({condition.effect} otherwise)"
            for condition in row.require
            if condition.effect != "unmeasured"
        ]
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")[:300]
