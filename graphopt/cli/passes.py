"""`graphopt passes`: what passes there are."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import options
from graphopt.options import described

if TYPE_CHECKING:
    from graphopt.rewrite import Rule


@click.group("passes", invoke_without_command=True)
@options.json_output
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the passes, built in and from plugins; `passes show NAME` tells all about one."""
    if ctx.invoked_subcommand is not None:
        return
    from rich.table import Table

    from graphopt.errors import PluginError
    from graphopt.pipeline import PASSES

    rows, problems = [], []
    for entry in PASSES.entries():
        try:
            with options.clean_stdout():
                loaded = entry.load()
            rows.append(
                {"name": entry.name, "fidelity": loaded.fidelity, "summary": loaded.summary(), "source": entry.source}
            )
        except PluginError as error:
            problems.append(str(error))
    if as_json:
        click.echo(json.dumps({"passes": rows, "problems": problems}, indent=1, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("pass", "keeps", "what it does", "from"):
        table.add_column(title, no_wrap=title in ("pass", "keeps"))
    for row in rows:
        table.add_row(*row.values())
    options.console().print(table)
    for problem in problems:
        click.echo(f"graphopt: {problem}", err=True)


@command.command("show")
@click.argument("name", type=options.PassName())
@options.json_output
def show(name: str, as_json: bool) -> None:
    """Show what a pass matches and makes, its options and its rules."""
    from graphopt.pipeline import PASSES, RewritePass

    entry = PASSES.find(name)
    with options.clean_stdout():
        loaded = entry.load()
    choices = described(loaded.Options)
    rules = [_rule(one) for one in loaded.rules] if issubclass(loaded, RewritePass) else []
    doc = inspect.getdoc(inspect.getmodule(loaded)) or inspect.getdoc(loaded) or ""
    if as_json:
        click.echo(json.dumps({
            "name": entry.name, "source": entry.source, "fidelity": loaded.fidelity, "summary": loaded.summary(),
            "doc": doc, "options": choices, "rules": rules,
        }, indent=1, ensure_ascii=False))  # fmt: skip
        return
    click.echo(f"{entry.name} ({entry.source}), {loaded.fidelity}\n\n{doc}")
    options.tell_choices(choices)
    for one in rules:
        condition = f": {'; '.join(one['requires'])}" if one["requires"] else ""
        click.echo(f"\nRule {one['name']} ({one['fidelity']}){condition}")
        click.echo(f"  consumes {', '.join(one['consumes'])}; produces {', '.join(one['produces']) or 'nothing new'}")


def _rule(one: Rule) -> dict[str, Any]:
    from graphopt.legalize.substitution import consumes
    from graphopt.testing.products import products

    return {
        "name": one.name, "fidelity": one.fidelity, "requires": [reason for reason, _ in one.guards],
        "consumes": consumes(one), "produces": products(one) if one.examples else [],
    }  # fmt: skip
