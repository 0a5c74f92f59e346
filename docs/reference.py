"""The reference pages, written out of the code: commands, passes, backends, the Python interface, the keys of JSON.

`assemble.py` puts them beside the other pages when the site is built; nothing of it is committed.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from graphopt.bench.measure import Benchmark
from graphopt.cli.main import BUILT_IN, cli
from graphopt.diff.model import Difference
from graphopt.inspection.facts import Inspection
from graphopt.options import described
from graphopt.pipeline import BACKENDS, PASSES, RewritePass, make_backend
from graphopt.report.model import Check, Report
from graphopt.rewrite import Rule

PUBLIC = Path(__file__).parents[1] / "tests" / "public_api.txt"
WIDTH = 100
RECORDS: tuple[tuple[str, str, str, type], ...] = (
    ("report.json", "`graphopt run` writes it beside the model, and `--json` prints it.", "graphopt.report/1", Report),
    ("check --json", "What each backend takes of a model.", "graphopt.check/1", Check),
    ("inspect --json", "What is in a model.", "graphopt.inspect/1", Inspection),
    ("diff --json", "How two models differ.", "graphopt.diff/1", Difference),
    ("bench --json", "How long models take.", "graphopt.bench/1", Benchmark),
)


def pages() -> dict[str, str]:
    """Markdown of every generated page, by its path below docs/."""
    return {
        "reference/commands.md": commands(),
        "reference/passes.md": passes(),
        "reference/backends.md": backends(),
        "reference/python.md": python(),
        "reference/json.md": records(),
    }


def commands() -> str:
    """The help of every command, as the command line prints it."""
    parts = ["# Commands", "What `graphopt COMMAND --help` prints."]
    top = click.Context(
        cli, info_name="graphopt", terminal_width=WIDTH, max_content_width=WIDTH, **cli.context_settings
    )
    for context in _walk(top):
        words = context.command_path
        parts.append(f"{'##' if words.count(' ') < 2 else '###'} {words}\n\n```text\n{context.get_help()}\n```")
    return _joined(parts)


def passes() -> str:
    """Every built-in pass by its kind: what it does, its options, its rules."""
    parts = [
        "# Passes",
        "`graphopt passes` lists what is installed, plugins included; `graphopt passes show NAME` prints an entry of "
        "this page. *exact* keeps every bit, *rounding* the real number, *lossy* is a compression: see "
        "[fidelity](../explanations/fidelity.md). [Every rewrite](../rewrites.md) lists what is rewritten into what.",
    ]
    entries = sorted((entry for entry in PASSES.entries() if entry.source.startswith("graphopt ")), key=_kind)
    for kind, members in groupby(entries, key=_kind):
        parts.append(f"## {kind.capitalize()}")
        for entry in members:
            loaded = entry.load()
            parts.append(f"### {entry.name}\n\n*{loaded.fidelity}*")
            parts.append(inspect.getdoc(inspect.getmodule(loaded)) or inspect.getdoc(loaded) or "")
            parts.append(_options(loaded.Options))
            if issubclass(loaded, RewritePass):
                parts.append("\n".join(_rule(one) for one in loaded.rules))
    return _joined(parts)


def backends() -> str:
    """Every built-in backend: its toolchain, targets, options and recipe."""
    parts = ["# Backends", "What each operator needs to run there: [the support matrix](../support.md)."]
    for entry in BACKENDS.entries():
        if not entry.source.startswith("graphopt "):
            continue
        one = make_backend(entry.name)
        parts.append(f"## {entry.name}")
        parts.append(inspect.getdoc(type(one)) or "")
        parts.append(
            f"- table measured from {one.table().toolchain}, on {one.table().date}\n"
            f"- writes `{one.suffix}`\n"
            f"- targets: {', '.join(one.targets) or 'no choice'}\n"
            f"- integer schemes: {', '.join(tomllib.loads(one.quantization() or '').get('schemes', ())) or 'none'}"
        )
        parts.append(_options(one.Options))
        parts.append(f"Its recipe:\n\n```toml\n{one.recipe().strip()}\n```")
    return _joined(parts)


def python() -> str:
    """The public names, for mkdocstrings to fill in."""
    parts = ["# Python", "These names follow semantic versioning; all others may change at any time."]
    names = PUBLIC.read_text(encoding="utf-8").split()
    for module, members in groupby(names, key=lambda name: name.rpartition(".")[0]):
        parts.append(f"## {module}")
        parts += [f"::: {name}\n    options:\n      heading_level: 3" for name in members]
    return _joined(parts)


def records() -> str:
    """The keys of all JSON that graphopt writes, from the classes that hold them."""
    parts = [
        "# JSON",
        "What files and `--json` hold. Keys are added within a schema's version, and what is there keeps its meaning. "
        "Keys marked + are left out while they are empty. JSON has no infinity: such a number is null.",
    ]
    for title, words, schema, top in RECORDS:
        parts.append(f"## {title}\n\n{words} The schema is `{schema}`.")
        parts += [_keys(kind) for kind in _reached(top)]
    return _joined(parts)


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _walk(context: click.Context) -> Iterator[click.Context]:
    """A context for each command and what it groups; those of plugins are left out."""
    yield context
    if isinstance(context.command, click.Group):
        for name in BUILT_IN if context.command is cli else context.command.list_commands(context):
            found = context.command.get_command(context, name)
            if found is not None:
                yield from _walk(click.Context(found, parent=context, info_name=name, max_content_width=WIDTH))


def _kind(entry: Any) -> str:
    """The folder that a built-in pass lies in."""
    return entry.point.value.split(".")[1]


def _rule(one: Rule) -> str:
    needs = f": {'; '.join(reason for reason, _ in one.guards)}" if one.guards else ""
    return f"- rule `{one.name}` ({one.fidelity}){needs}"


def _options(kind: type) -> str:
    rows = described(kind)
    if not rows:
        return ""
    lines = ["| option | default | |", "|---|---|---|"]
    lines += [f"| `{row['name']}` | `{row['default']}` | {row['help']} |" for row in rows]
    return "\n".join(lines)


def _keys(kind: type) -> str:
    doc = inspect.getdoc(kind) or ""
    said = dict(_attributes(doc))
    lines = [f"### {kind.__name__}", "", doc.partition("\n\n")[0], "", "| key | type | |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        later = " +" if field.metadata.get("later") else ""
        lines.append(f"| `{field.name}`{later} | `{_type(kind, field)}` | {said.get(field.name, '')} |")
    return "\n".join(lines)


def _type(kind: type, field: dataclasses.Field[Any]) -> str:
    """The type of a field as it is written, with the values of one that is a name for a few."""
    names = vars(sys.modules[kind.__module__])

    def spelled(word: re.Match[str]) -> str:
        values = get_args(names.get(word[0])) if get_origin(names.get(word[0])) is Literal else ()
        return f"Literal{list(values)}" if values else word[0]

    return re.sub(r"\w+", spelled, str(field.type)).replace(" | ", " or ")


def _attributes(doc: str) -> Iterator[tuple[str, str]]:
    """Names and words of the section "Attributes" of a docstring."""
    _, _, section = doc.partition("Attributes:\n")
    for match in re.finditer(r"^    ([\w, ]+): (.*?)(?=^    \w|\Z)", section, re.MULTILINE | re.DOTALL):
        for name in match[1].split(", "):
            yield name, " ".join(match[2].split()).replace("|", "\\|")


def _reached(kind: type) -> list[type]:
    """A record and the records that its fields hold, each once, in the order of the fields."""
    found = [kind]
    for one in found:
        names = vars(sys.modules[one.__module__])
        for field in dataclasses.fields(one):
            for word in re.findall(r"\w+", str(field.type)):
                inner = names.get(word)
                if isinstance(inner, type) and dataclasses.is_dataclass(inner) and inner not in found:
                    found.append(inner)
    return found
