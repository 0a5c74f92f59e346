"""Subcommands that plugins bring, under the entry-point group `graphopt.commands`.

    [project.entry-points."graphopt.commands"]
    size-of = "my_plugin:size_of"       # a click.Command

`graphopt size-of` imports it then, not before. A command cannot take a name that graphopt has, or another plugin: such
a one is called by `distribution:name`, and `graphopt plugins` says so.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

import click

from graphopt.plugins.entry_points import HOME, Entry, Group, Unfit


def _command(name: str, found: Any) -> click.Command:
    if not isinstance(found, click.Command):
        raise Unfit(f"is not a click.Command: {getattr(found, '__qualname__', found)!s:.80}")
    return found


COMMANDS: Group[click.Command] = Group("graphopt.commands", "command", _command)


def find_command(name: str) -> click.Command | None:
    """The command that a plugin brings under a name, or under `distribution:name`; None where none does.

    Raises:
        UserError: several plugins bring it, or the one that does is not allowed.
        PluginError: it cannot be imported.
    """
    bare = name.rpartition(":")[2]
    if not any(entry.name == bare for entry in [*COMMANDS.entries(), *COMMANDS.denied()]):
        return None
    return COMMANDS.find(name).load()


def clash(entry: Entry[click.Command], built_in: Collection[str]) -> str:
    """Why a command is not reached by its plain name, "" where it is."""
    others = [e.source for e in COMMANDS.entries() if e.name == entry.name and e != entry]
    if entry.name in built_in:
        others.insert(0, f"{HOME} {version(HOME)}")
    if not others:
        return ""
    return (
        f"the command {entry.name!r} of {entry.source} has the name of one of {' and '.join(others)}: "
        f"say {entry.distribution}:{entry.name}"
    )
