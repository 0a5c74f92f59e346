"""`graphopt probe`: measure a backend's support table again."""

from __future__ import annotations

from pathlib import Path

import click

from graphopt.cli import options
from graphopt.errors import UserError


@click.command("probe")
@options.backends(required=True)
@click.option("--op", "ops", multiple=True, metavar="OP", help="Only these operators; the other rows are kept.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Child processes at the same time.")
@click.option("--limit", default=60.0, show_default=True, help="Seconds that one probe may take.")
@click.option(
    "--work", default=".graphopt-probe", show_default=True, metavar="FOLDER",
    help="Where answers are kept, so that a sweep that was interrupted goes on there.",
)  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Write the new table there.")
def command(
    backends: tuple[tuple[str, ...], ...], ops: tuple[str, ...], jobs: int, limit: float, work: str, output: str | None
) -> None:
    """Put generated one-operator models to a vendor's own compiler, and print what differs from the table in use.

    Every probe runs in a child process, so a crash or a hang of the vendor's library is an answer.

    \b
      graphopt probe -b snpe --op Resize
      graphopt probe -b tflite --jobs 2 -o table.json
    """
    from graphopt.pipeline import make_backend
    from graphopt.support.measure import difference, measure
    from graphopt.support.table import dump

    names = options.flat(backends)
    if len(names) != 1:
        raise UserError("probe takes one backend: -b NAME")
    backend = make_backend(names[0])
    old = backend.table()
    with options.progress(quiet=False) as listener:
        table = measure(
            backend, Path(work), ops=list(ops) or None, jobs=jobs, limit=limit, old=old,
            progress=lambda done, count: listener(f"probe {backend.name}", done, count),
        )  # fmt: skip
    for line in difference(old, table):
        click.echo(line)
    if output is not None:
        dump(table, output)
        click.echo(f"wrote {output}", err=True)
