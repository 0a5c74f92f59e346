"""`graphopt plugins`: where passes and backends come from."""

from __future__ import annotations

import json

import click

from graphopt.cli import options


@click.command("plugins")
@options.json_output
def command(as_json: bool) -> None:
    """List the distributions that passes and backends come from, and say which of them do not load."""
    from graphopt.errors import PluginError
    from graphopt.pipeline import BACKENDS, PASSES

    found: dict[str, dict[str, list[str]]] = {}
    for key, group in (("passes", PASSES), ("backends", BACKENDS)):
        for entry in group.entries():
            record = found.setdefault(entry.source, {"passes": [], "backends": [], "problems": []})
            record[key].append(entry.name)
            try:
                with options.clean_stdout():
                    entry.load()
            except PluginError as error:
                record["problems"].append(str(error))
    if as_json:
        click.echo(json.dumps({"plugins": found}, indent=1, ensure_ascii=False))
        return
    for source, record in found.items():
        click.echo(f"{source}: {len(record['passes'])} passes, {len(record['backends'])} backends")
        for key in ("passes", "backends"):
            if record[key]:
                click.echo(f"  {key}: {', '.join(record[key])}")
        for problem in record["problems"]:
            click.echo(f"  {problem}", err=True)
