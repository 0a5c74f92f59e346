"""`graphopt plugins`: where passes, backends and commands come from."""

from __future__ import annotations

import json
from typing import Any

import click

from graphopt.cli import options

_KINDS = ("passes", "backends", "commands")


@click.command("plugins")
@options.json_output
def command(as_json: bool) -> None:
    """List the distributions that passes, backends and commands come from, and say which of them do not load.

    Which distributions may enter is said in ~/.config/graphopt/config.toml, or the file that GRAPHOPT_CONFIG names:

    \b
      [plugins]
      allow = ["mycorp-*"]
      deny = ["mycorp-untested"]
    """
    from graphopt.cli.main import BUILT_IN
    from graphopt.errors import PluginError
    from graphopt.pipeline import BACKENDS, PASSES
    from graphopt.plugins.commands import COMMANDS, clash

    found: dict[str, dict[str, list[str]]] = {}
    denied: dict[str, list[str]] = {}
    groups: tuple[Any, ...] = (PASSES, BACKENDS, COMMANDS)
    for key, group in zip(_KINDS, groups, strict=True):
        for entry in group.entries():
            record = found.setdefault(entry.source, {**{kind: [] for kind in _KINDS}, "problems": []})
            record[key].append(entry.name)
            try:
                with options.clean_stdout():
                    entry.load()
            except PluginError as error:
                record["problems"].append(str(error))
            if group is COMMANDS and (words := clash(entry, BUILT_IN)):
                record["problems"].append(words)
        for entry in group.denied():
            denied.setdefault(entry.source, []).append(entry.name)
    if as_json:
        click.echo(json.dumps({"plugins": found, "denied": denied}, indent=1, ensure_ascii=False))
        return
    for source, record in found.items():
        click.echo(f"{source}: {', '.join(f'{len(record[kind])} {kind}' for kind in _KINDS if record[kind])}")
        for kind in _KINDS:
            if record[kind]:
                click.echo(f"  {kind}: {', '.join(record[kind])}")
        for problem in record["problems"]:
            click.echo(f"  {problem}", err=True)
    for source, names in denied.items():
        click.echo(f"{source}: not allowed by the configuration ({', '.join(names)})")
