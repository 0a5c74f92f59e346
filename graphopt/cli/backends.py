"""`graphopt backends`: what backends there are, and what was measured of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from graphopt.cli import options
from graphopt.options import described

if TYPE_CHECKING:
    from graphopt.support.table import Table

_BEST: Final = ("native", "emulated", "documented", "folded", "fallback", "unsupported")


@click.group("backends", invoke_without_command=True)
@options.json_output
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the backends, built in and from plugins; `backends show NAME` tells what was measured of one."""
    if ctx.invoked_subcommand is not None:
        return
    from rich.table import Table as Grid

    from graphopt.errors import GraphoptError
    from graphopt.pipeline import BACKENDS

    rows: list[dict[str, str]] = []
    problems = []
    for entry in BACKENDS.entries():
        try:
            with options.clean_stdout():
                backend = entry.load_and_make()
                table = backend.table()
            rows.append({
                "name": entry.name, "title": backend.title, "installed": backend.toolchain() or "",
                "measured": table.toolchain, "operators": str(len(table.by_op)), "source": entry.source,
                "install": f"pip install 'graphopt[{backend.extra}]'",
            })  # fmt: skip
        except GraphoptError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001 (a stranger's backend may raise anything; the others are listed)
            problems.append(f"{entry.name} of {entry.source} cannot be listed: {type(error).__name__}: {error}")
    if as_json:
        click.echo(json.dumps({"backends": rows, "problems": problems}, indent=1, ensure_ascii=False))
        return
    shown = Grid(box=None, pad_edge=False)
    for title in ("backend", "vendor", "toolchain here", "table measured from", "operators", "from"):
        shown.add_column(title)
    for row in rows:
        here = row["installed"] or f"none: {row['install']}"
        shown.add_row(row["name"], row["title"], here, row["measured"], row["operators"], row["source"])
    options.console().print(shown)
    for problem in problems:
        click.echo(f"graphopt: {problem}", err=True)


@command.command("show")
@click.argument("name", type=options.BackendName())
@options.json_output
def show(name: str, as_json: bool) -> None:
    """Show a backend: its toolchain, targets, recipe, and the operators of each of its tables by status."""
    from graphopt.pipeline import BACKENDS

    entry = BACKENDS.find(name)
    with options.clean_stdout():
        backend = entry.load_and_make()
        table = backend.table()
        others = backend.tables()[1:]
    facts: dict[str, Any] = {
        "name": entry.name, "title": backend.title, "source": entry.source, "installed": backend.toolchain(),
        "measured": table.toolchain, "targets": list(backend.targets), "operators": len(table.by_op),
        "by_status": _by_status(table), "reads": table.reads.model_dump(exclude={"says", "probes"}),
        "other_tables": [
            {"toolchain": other.toolchain, "evidence": other.evidence, "source": other.source,
             "operators": len(other.by_op), "by_status": _by_status(other)}
            for other in others
        ],
        "options": described(backend.Options), "recipe": backend.recipe(),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    click.echo(f"{entry.name}: {backend.title} ({entry.source})")
    click.echo(f"toolchain here: {facts['installed'] or 'none: pip install graphopt[' + backend.extra + ']'}")
    click.echo(f"table measured from: {table.toolchain}")
    click.echo(f"operators: {facts['operators']} ({_counted(facts['by_status'])})")
    click.echo(f"reads: {_reads(table)}")
    for other in facts["other_tables"]:
        read = f"documented, not measured: {other['source']}" if other["source"] else "measured"
        click.echo(f"other table: {other['toolchain']}: {_counted(other['by_status'])}; {read}")
    click.echo(f"targets: {', '.join(backend.targets) or 'no choice'}")
    options.tell_choices(facts["options"])
    click.echo(f"\nRecipe\n\n{backend.recipe().strip()}")


def _by_status(table: Table) -> dict[str, int]:
    """How many operators have which status, of several the one that takes most."""
    counts: Counter[str] = Counter()
    for rows in table.by_op.values():
        have = {row.status for row in rows}
        counts[next(status for status in _BEST if status in have)] += 1
    return dict(sorted(counts.items()))


def _counted(by_status: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in by_status.items())


def _reads(table: Table) -> str:
    reads = table.reads
    opset = f"opset {reads.opset[0]} to {reads.opset[1]}" if reads.opset else "any opset"
    version = f"IR version {reads.ir_version[0]} to {reads.ir_version[1]}" if reads.ir_version else "any IR version"
    ahead = {
        "constants": "computes ahead what constants and static shapes determine",
        "sizes": "follows computed sizes, but computes no constants ahead",
        "none": "computes nothing ahead",
    }
    return f"{opset}, {version}; {ahead[reads.foresight]}"


@command.command("matrix")
@options.backends(required=False)
def matrix(backends: tuple[tuple[str, ...], ...]) -> None:
    """Print the support matrix, operators by backends with the measured conditions, as Markdown.

    Tables from documentation have a section of their own.

    \b
      graphopt backends matrix -b tflite,tensorrt,snpe > docs/support.md
    """
    from graphopt.pipeline import BACKENDS, make_backend
    from graphopt.support.matrix import matrix as render

    names = options.flat(backends) or [entry.name for entry in BACKENDS.entries()]
    click.echo(render([table for name in names for table in make_backend(name).tables()]), nl=False)
