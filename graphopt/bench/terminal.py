"""A benchmark on the terminal: a row a model, then what may be concluded, then the slowest operators."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphopt.bench.compare import Comparison
from graphopt.bench.measure import Benchmark, Timing
from graphopt.report import words

_STYLES = {"faster": "green", "slower": "red", "undecided": "yellow", "incomparable": "yellow"}
_MOST = 12
"""Operators that are shown of a profile."""


def rendered(found: Benchmark) -> RenderableType:
    """What `graphopt bench` prints."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Model", "Runtime"):
        table.add_column(title, overflow="fold")
    for title in ("Median", "10 % … 90 %", "Runs/s", "Load", "Memory"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in found.timings:
        table.add_row(
            Text(words.printable(one.path), "bold"), Text(one.runtime), time(one.median),
            f"{time(one.low)} … {time(one.high)}", f"{one.throughput:.4g}", words.duration(one.load),
            words.size(one.peak_bytes),
        )  # fmt: skip
    sizes = ", ".join(f"{name} {'x'.join(map(str, size)) or 'scalar'}" for name, size in found.sizes.items())
    how = f"{words.plural(found.threads, 'thread')}; {sizes}" if sizes else words.plural(found.threads, "thread")
    parts: list[RenderableType] = [table, Text(words.printable(how), "dim")]
    if found.busy is not None and found.busy > found.processors:
        busy = f"the machine is busy: {found.busy:.1f} processes for {words.plural(found.processors, 'processor')}"
        parts.append(Text(f"{busy}; times are longer and vary more than they would", "yellow"))
    if found.comparisons:
        parts += [Text(), *(_conclusion(*pair) for pair in zip(found.timings[1:], found.comparisons, strict=True))]
    for one in found.timings:
        parts += _profile(one)
    return Group(*parts)


def time(seconds: float) -> str:
    """A time of one run with three digits, as "1.84 ms"."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _conclusion(timing: Timing, comparison: Comparison) -> Text:
    style = _STYLES[comparison.verdict]
    return Text.assemble((words.printable(timing.path), "bold"), f"  {comparison.reason}", style=style)


def _profile(timing: Timing) -> list[RenderableType]:
    if timing.profile_note:
        return [Text(), Text(f"{words.printable(timing.path)}: no profile: {timing.profile_note}", "yellow")]
    if not timing.profile:
        return []
    total = sum(one["seconds"] for one in timing.profile)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Node", "Operator"):
        table.add_column(title, overflow="fold")
    for title in ("Time", "Share"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in timing.profile[:_MOST]:
        share = f"{100 * one['seconds'] / total:.1f} %" if total else ""
        table.add_row(Text(words.printable(one["name"])), Text(one["op_type"]), time(one["seconds"]), share)
    rest = timing.profile[_MOST:]
    if rest:
        left = sum(one["seconds"] for one in rest)
        share = f"{100 * left / total:.1f} %" if total else ""
        table.add_row(Text(f"{len(rest)} others", "dim"), "", time(left), share)
    return [Text(), Text(f"{words.printable(timing.path)}: slowest operators", "bold"), Padding(table, (0, 0, 0, 2))]
