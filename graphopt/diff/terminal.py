"""A difference on the terminal: the verdict, the totals, then what changed, what is alike told together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphopt.diff.model import Difference, Outputs, WeightChange
from graphopt.diff.told import Told, arrow, rewrites, same_changes, same_operators, totals
from graphopt.report import words

_STYLES = {"identical": ("= identical", "bold green"), "same": ("≈ the same", "bold green"),
           "different": ("≠ different", "bold red")}  # fmt: skip
_MOST = 12
"""Lines of each kind that are shown where not all are asked for."""
_NAMED = 3


def rendered(found: Difference, *, every: bool = False) -> RenderableType:
    """What `graphopt diff` prints.

    Args:
        found: the difference.
        every: every line and every name.
    """
    mark, style = _STYLES[found.verdict]
    parts: list[RenderableType] = [
        Text.assemble((mark, style), f"  {words.printable(found.first.path)} → {words.printable(found.second.path)}"),
        Text(words.printable(found.reason), "" if found.verdict != "different" else "red"),
    ]
    if found.verdict == "identical":
        return Group(*parts)
    parts += [Text(), _totals(found), Text(), _counted(found)]
    model = [(Text(words.printable(one.what)), Text(words.printable(arrow(one)))) for one in found.model]
    parts += _section("The model", model, every)
    parts += _told("Rewritten", rewrites(found.rewritten), every)
    parts += _told("Changed", same_changes(found.changed), every)
    parts += _told("Removed", same_operators(found.removed), every)
    parts += _told("Added", same_operators(found.added), every)
    parts += _weights(found.weights, every)
    parts += _outputs(found.outputs, every)
    return Group(*parts)


def _totals(found: Difference) -> Table:
    table = _table("", "First", "Second", "Change", right=("First", "Second", "Change"))
    for name, before, after, change in totals(found):
        table.add_row(name, before, after, change)
    return table


def _counted(found: Difference) -> Text:
    parts = [
        f"{words.plural(found.equal, 'node')} equal", f"{found.carried} only read something changed",
        f"{len(found.changed)} changed", f"{sum(len(g.before) for g in found.rewritten)} rewritten into "
        f"{sum(len(g.after) for g in found.rewritten)}", f"{len(found.removed)} removed", f"{len(found.added)} added",
    ]  # fmt: skip
    return Text("; ".join(parts), "dim")


def _told(title: str, lines: Sequence[Told], every: bool) -> list[RenderableType]:
    rows = []
    for line in lines:
        body = Text(words.printable(line.what))
        if line.by:
            body.append(f"  {words.printable(line.by)}", "cyan")
        shown = line.nodes if every else line.nodes[:_NAMED]
        more = f" and {len(line.nodes) - len(shown)} more" if len(shown) < len(line.nodes) else ""
        body.append(f"\nat {', '.join(map(words.printable, shown))}{more}", "dim")
        rows.append((Text(f"{line.count} ×"), body))
    return _section(title, rows, every)


def _section(title: str, rows: Sequence[tuple[Text, Text]], every: bool) -> list[RenderableType]:
    if not rows:
        return []
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right" if title != "The model" else "left", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows if every else rows[:_MOST]:
        table.add_row(*row)
    return [Text(), Text(title, "bold"), Padding(table, (0, 0, 0, 2)), *_others(len(rows), every)]


def _others(count: int, every: bool) -> list[RenderableType]:
    hidden = 0 if every else max(0, count - _MOST)
    return [Text(f"  and {hidden} others: --verbose shows all", "dim")] if hidden else []


def _weights(changes: Sequence[WeightChange], every: bool) -> list[RenderableType]:
    if not changes:
        return []
    table = _table("Weight", "Read by", "Type", "Largest change", "Of the largest", "SQNR",
                   right=("Largest change", "Of the largest", "SQNR"))  # fmt: skip
    for one in changes if every else changes[:_MOST]:
        name = one.name if one.name == one.other or not one.other else f"{one.name} → {one.other}"
        table.add_row(
            Text(words.printable(name or one.other)), Text(words.printable(one.node)), one.kind,
            "" if one.max_abs is None else f"{one.max_abs:.3g}",
            "" if one.max_rel is None else f"{100 * one.max_rel:.2g} %",
            "" if one.sqnr_db is None else f"{one.sqnr_db:.1f} dB",
        )  # fmt: skip
    title = Text(f"{words.plural(len(changes), 'weight')} changed", "bold")
    return [Text(), title, Padding(table, (0, 0, 0, 2)), *_others(len(changes), every)]


def _outputs(found: Outputs, every: bool) -> list[RenderableType]:
    if not found.outputs:
        return []
    table = _table("Output", "Largest error", "Relative", "SQNR", right=("Largest error", "Relative", "SQNR"))
    for one in found.outputs if every else found.outputs[:_MOST]:
        numbers = ("0", "0", "exact") if one.equal else (
            f"{one.max_abs_error:.3g}", f"{one.max_rel_error:.3g}", f"{one.sqnr_db:.1f} dB")  # fmt: skip
        table.add_row(Text(words.printable(one.name)), *((one.problem, "", "") if one.problem else numbers))
    sizes = ", ".join(f"{name} {'x'.join(map(str, size)) or 'scalar'}" for name, size in found.sizes.items())
    title = Text.assemble(("Outputs", "bold"), (f"  on {words.plural(found.samples, 'sample')}, {sizes}", "dim"))
    return [Text(), title, Padding(table, (0, 0, 0, 2)), *_others(len(found.outputs), every)]


def _table(*titles: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold", justify="right" if title in right else "left")
    return table
