"""The registry: passes and backends by name, from the entry points of every installed distribution.

Built-in ones enter the same way as a stranger's; see `entry_points` for how names are found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from graphopt.options import parse_spec
from graphopt.pipeline.adapters import adapted
from graphopt.pipeline.passes import Pass
from graphopt.plugins.entry_points import Entry, Group, Unfit
from graphopt.rewrite.rule import FIDELITIES
from graphopt.support.backend import Backend


def _pass(name: str, found: Any) -> type[Pass]:
    """What an entry point of `graphopt.passes` leads to, as a class of passes."""
    found = adapted(name, found)
    _check_class(name, found, Pass)
    if getattr(found, "fidelity", None) not in FIDELITIES:
        raise Unfit(f"declares the fidelity {getattr(found, 'fidelity', None)!r}: say {', '.join(FIDELITIES)}")
    if not dataclasses.is_dataclass(found.Options):
        raise Unfit("has Options that are not a dataclass")
    one: type[Pass] = found
    return one


def _backend(name: str, found: Any) -> type[Backend]:
    """What an entry point of `graphopt.backends` leads to."""
    _check_class(name, found, Backend)
    for attribute in ("title", "suffix", "extra"):
        if not isinstance(getattr(found, attribute, None), str):
            raise Unfit(f"has no {attribute}")
    one: type[Backend] = found
    return one


def _check_class(name: str, found: Any, base: type) -> None:
    if not (isinstance(found, type) and issubclass(found, base)):
        raise Unfit(f"is not a {base.__name__}: {getattr(found, '__qualname__', found)!s:.80}")
    own = getattr(found, "name", None)
    if own != name:
        raise Unfit(f"calls itself {own!r}: its entry point and its class must have one name")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise Unfit(f"does not define {', '.join(missing)}")


PASSES: Group[type[Pass]] = Group("graphopt.passes", "pass", _pass)
BACKENDS: Group[type[Backend]] = Group("graphopt.backends", "backend", _backend)


def make_pass(name: str, options: Mapping[str, Any]) -> tuple[Pass, Entry[type[Pass]]]:
    """A pass by name, with options, and where it comes from.

    Raises:
        UserError: no such pass, or an option is wrong.
        PluginError: its distribution cannot be imported.
    """
    entry = PASSES.find(name)
    return entry.load_and_make(**options), entry


def make_backend(spec: str) -> Backend:
    """A backend by what the command line calls it: "tflite", or with options "tflite:io_layout=nhwc".

    Raises:
        UserError: no such backend, or an option is wrong.
        PluginError: its distribution cannot be imported.
    """
    name, options = parse_spec(spec, "-b")
    return BACKENDS.find(name).load_and_make(**options)
