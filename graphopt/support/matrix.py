"""The support matrix: every operator by every backend, with the measured conditions, as Markdown out of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphopt.support.table import Row, Table

_MARKS = {
    "native": "yes", "emulated": "yes, decomposed", "folded": "only when folded", "fallback": "on the CPU",
    "documented": "yes",
}  # fmt: skip
_HEAD = """# Support matrix

Generated from the tables; `make docs` writes it, nobody edits it. A cell says whether the toolchain takes the operator
in its base form, and how many measured conditions it puts on it; the conditions follow below. What no probe has
measured is not promised: `graphopt check` says so of a node. An operator that is taken only when folded has constants
alone as inputs, and the toolchain computes it ahead of time.
"""
_DOCUMENTED = """## Documented, not measured

What vendors write of toolchains that cannot run here. Nothing of it was put to a compiler; `graphopt check -b NAME
--toolchain TOOLCHAIN` says so of each verdict. A delegate takes an operator where it takes all the builtins that the
operator becomes.
"""


def matrix(tables: Sequence[Table]) -> str:
    """The matrix of several tables, operators in alphabetical order, those of ONNX itself first.

    Args:
        tables: in the order of their columns; documented ones get a section of their own.
    """
    measured = [table for table in tables if table.evidence == "measured"]
    others = [table for table in tables if table.evidence == "documented"]
    lines = [_HEAD]
    lines += [f"- **{t.backend}**: {t.toolchain}, {t.execution or 'compiled'}, {t.date}" for t in measured]
    lines += ["", *_grid(measured, [table.backend for table in measured], "not measured"), ""]
    if others:
        names = [table.toolchain.partition(" ")[0] for table in others]
        lines.append(_DOCUMENTED)
        lines += [
            f"- **{name}**: {t.toolchain} of {t.backend}, read {t.date}: {t.source}"
            for name, t in zip(names, others, strict=True)
        ]
        lines += ["", *_grid(others, names, ""), ""]
    lines += ["## Conditions", ""]
    for key in sorted({key for table in measured for key in table.by_op}):
        told = [(table.backend, line) for table in measured for line in _conditions(table.by_op.get(key, []))]
        if told:
            lines += [f"### {_name(key)}", ""]
            lines += [f"- {backend}: {line}" for backend, line in dict.fromkeys(told)]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _grid(tables: Sequence[Table], names: Sequence[str], unknown: str) -> Iterator[str]:
    yield "| operator | " + " | ".join(names) + " |"
    yield "|---" * (len(tables) + 1) + "|"
    for key in sorted({key for table in tables for key in table.by_op}):
        cells = [_cell(table.by_op.get(key, []), unknown) for table in tables]
        told = any(_conditions(table.by_op.get(key, [])) for table in tables if table.evidence == "measured")
        name = _link(key) if told else _name(key)
        yield f"| {name} | " + " | ".join(cells) + " |"


def _name(key: tuple[str, str]) -> str:
    return f"{key[0]}::{key[1]}" if key[0] else key[1]


def _link(key: tuple[str, str]) -> str:
    return f"[{_name(key)}](#{_name(key).lower().replace('.', '').replace(':', '')})"


def _cell(rows: Sequence[Row], unknown: str) -> str:
    taken = [row for row in rows if row.status != "unsupported"]
    if not rows:
        return unknown
    if not taken:
        return "no"
    row = next((row for row in reversed(taken) if row.status != "folded"), taken[-1])
    # that its inputs are constants is what "folded" says already
    count = sum(condition.effect != "unmeasured" for condition in row.require) * (row.status != "folded")
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
