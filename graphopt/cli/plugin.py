"""`graphopt plugin`: begin a plugin, or check one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphopt.cli import options

if TYPE_CHECKING:
    from graphopt.plugins.scaffold import Kind


@click.group("plugin")
def command() -> None:
    """Begin a plugin, or check one that is installed."""


@command.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["pass", "rules", "backend"]), default="pass", show_default=True,
    help="A pass that is a function, a rewrite rule, or a backend that is a table.",
)  # fmt: skip
@click.option("-C", "--folder", default=".", metavar="FOLDER", help="Where to make the folder NAME.")
def new(name: str, kind: Kind, folder: str) -> None:
    """Write a distribution NAME with one working example, a test and a CI file; nothing is ever overwritten.

    \b
      graphopt plugin new my-pass
      pip install -e my-pass
      graphopt run model.onnx -p my-pass -o x.onnx
    """
    from graphopt.plugins.scaffold import scaffold

    for file in scaffold(name, kind, Path(folder)):
        click.echo(file)
    used = f"check model.onnx -b {name}" if kind == "backend" else f"run model.onnx -p {name} -o x.onnx"
    click.echo(f"\nNow: pip install -e {Path(folder, name)}, then graphopt {used}")


@command.command("check")
@click.argument("plugin", required=False)
@click.option("--limit", default=60.0, show_default=True, help="Seconds that a pass may take on one of the models.")
@options.json_output
def check(plugin: str | None, limit: float, as_json: bool) -> int:
    """Run the conformance kit on PLUGIN, an installed distribution or its folder; without PLUGIN, on all of them.

    A pass must load, have options with defaults, leave valid graphs, keep the fidelity that it declares, do the same
    twice, print nothing on standard output and stay within the limit, on generated models and small real ones. A
    backend must have a table and a recipe that are sound, and where its toolchain is installed, compile and run.
    Exit code 1 where something is not so.
    """
    from graphopt.testing.conformance import check_distribution, distributions

    with options.clean_stdout():
        found = [one for name in distributions(plugin) for one in check_distribution(name, limit=limit)]
    if as_json:
        click.echo(json.dumps({"findings": [dataclasses.asdict(one) for one in found]}, indent=1, ensure_ascii=False))
    else:
        for one in found:
            click.echo(f"{one.outcome:7} {one.subject}: {one.question}{f': {one.detail}' if one.detail else ''}")
        bad = sum(one.outcome == "failed" for one in found)
        click.echo(f"{len(found)} checks, {bad} failed" if found else "there is no plugin to check")
    return 1 if any(one.outcome == "failed" for one in found) else 0
