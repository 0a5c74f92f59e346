"""`graphopt probe`: measure a backend's support table again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphopt.cli import options
from graphopt.errors import UserError

if TYPE_CHECKING:
    from graphopt.support.backend import Backend
    from graphopt.support.table import Table


@click.command("probe")
@options.backends(required=True)
@click.option("--op", "ops", multiple=True, metavar="OP", help="Only these operators; the other rows are kept.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Child processes at the same time.")
@click.option("--limit", default=60.0, show_default=True, help="Seconds that one probe may take.")
@click.option(
    "--work", default=".graphopt-probe", show_default=True, metavar="FOLDER",
    help="Where answers are kept, so that a sweep that was interrupted goes on there.",
)  # fmt: skip
@click.option(
    "--validate", "count", type=click.IntRange(1), metavar="N",
    help="Measure nothing: put N random models for each operator to the compiler and say how often the table is right.",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(0),
    help="At most so many rounds of random models to learn from, after the systematic ones; 0 for a quick look.",
)  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Write the new table, or the validation, there.")
def command(
    backends: tuple[tuple[str, ...], ...],
    ops: tuple[str, ...],
    jobs: int,
    limit: float,
    work: str,
    count: int | None,
    rounds: int | None,
    output: str | None,
) -> None:
    """Put generated one-operator models to a vendor's own compiler, and print what differs from the table in use.

    Every probe runs in a child process, so a crash or a hang of the vendor's library is an answer. Without more
    options this is what the tables that come with graphopt were measured with.

    \b
      graphopt probe -b snpe --op Resize
      graphopt probe -b tflite --jobs 2 -o table.json
      graphopt probe -b tflite --validate 20
    """
    from graphopt.pipeline import make_backend
    from graphopt.support.measure import difference, measure
    from graphopt.support.table import dump
    from graphopt.support.training import MOST
    from graphopt.support.validate import validate

    names = options.flat(backends)
    if len(names) != 1:
        raise UserError("probe takes one backend: -b NAME")
    backend = make_backend(names[0])
    old = _table_of(backend)
    with options.progress(quiet=False) as listener:

        def tell(done: int, total: int) -> None:
            listener(f"probe {backend.name}", done, total)

        wanted = list(ops) or None
        if count is not None:
            found = validate(backend, Path(work), count=count, ops=wanted, jobs=jobs, limit=limit, progress=tell)
        else:
            most = MOST if rounds is None else rounds
            table = measure(
                backend, Path(work), ops=wanted, jobs=jobs, limit=limit, old=old, rounds=most, progress=tell
            )
    if count is not None:
        click.echo(found.text())
        if output is not None:
            found.dump(Path(output))
        return
    for line in difference(old, table):
        click.echo(line)
    if output is not None:
        dump(table, output)
        click.echo(f"wrote {output}", err=True)


def _table_of(backend: Backend) -> Table:
    """The table in use; one without rows where a new backend has none yet."""
    from graphopt.support.table import Table

    try:
        return backend.table()
    except UserError:
        return Table(backend=backend.name, toolchain="not measured", date="", rows=())
