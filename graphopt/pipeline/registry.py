"""The registry: passes and backends by name, from the entry points of every installed distribution.

Built-in ones enter the same way as a stranger's. Nothing is imported until it is used or described. Two distributions
that offer the same name are an error that names both; `distribution:name` says which one is meant.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graphopt.errors import GraphoptError, PluginError, UserError
from graphopt.options import parse_spec
from graphopt.pipeline.passes import Pass
from graphopt.rewrite.rule import FIDELITIES
from graphopt.support.backend import Backend

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A name that some distribution offers.

    Attributes:
        name: what it is called.
        distribution: the distribution that offers it.
        version: its version.
        point: where the class is.
    """

    name: str
    distribution: str
    version: str
    point: importlib.metadata.EntryPoint
    base: type[T]

    @property
    def source(self) -> str:
        """Distribution and version, as reports show it."""
        return f"{self.distribution} {self.version}"

    def load(self) -> type[T]:
        """Import the class.

        Raises:
            PluginError: the import fails, or what it finds is not a class of the right kind or goes by another name.
        """
        try:
            found = self.point.load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            raise PluginError(
                f"{self.name} of {self.source} cannot be imported: {type(error).__name__}: {_one_line(error)}"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise PluginError(f"{self.name} of {self.source} is not a {self.base.__name__}: {self.point.value}")
        if getattr(found, "name", None) != self.name:
            raise PluginError(
                f"{self.name} of {self.source} calls itself {getattr(found, 'name', None)!r}: "
                "its entry point and its class must have one name"
            )
        flaw = _flaw(found)
        if flaw:
            raise PluginError(f"{self.name} of {self.source} {flaw}")
        return found

    def load_and_make(self, **options: Any) -> T:
        """Import the class and make an object of it.

        Raises:
            UserError: an option is wrong.
            PluginError: the class cannot be imported or cannot be made.
        """
        made = self.load()
        try:
            return made(**options)
        except GraphoptError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.name} of {self.source} cannot be made: {type(error).__name__}: {_one_line(error)}"
            ) from error


def _flaw(found: type) -> str:
    """What a class lacks of the contract of a pass or a backend, "" where nothing."""
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        return f"does not define {', '.join(missing)}"
    if issubclass(found, Pass):
        fidelity = getattr(found, "fidelity", None)
        if fidelity not in FIDELITIES:
            return f"declares the fidelity {fidelity!r}: say {', '.join(FIDELITIES)}"
        if not dataclasses.is_dataclass(found.Options):
            return "has Options that are not a dataclass"
    if issubclass(found, Backend):
        for attribute in ("title", "suffix", "extra"):
            if not isinstance(getattr(found, attribute, None), str):
                return f"has no {attribute}"
    return ""


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Group(Generic[T]):
    """The names of one entry-point group."""

    def __init__(self, group: str, kind: str, base: type[T]) -> None:
        self.group, self.kind, self._base = group, kind, base

    def entries(self) -> list[Entry[T]]:
        """Everything that is offered, by name and distribution; the same name may come twice."""
        found: dict[tuple[str, str], Entry[T]] = {}
        for point, name, version in _installed(self.group, tuple(sys.path)):
            found[point.name, name] = Entry(point.name, name, version, point, self._base)
        return [found[key] for key in sorted(found)]

    def find(self, name: str) -> Entry[T]:
        """The entry that a name (or `distribution:name`) means.

        Raises:
            UserError: no such name, or several distributions offer it.
        """
        distribution, _, bare = name.rpartition(":")
        offered = self.entries()
        meant = [e for e in offered if e.name == bare and (not distribution or _same(e.distribution, distribution))]
        if len(meant) == 1:
            return meant[0]
        if meant:
            both = " and ".join(f"{e.distribution}:{e.name}" for e in meant)
            raise UserError(f"the {self.kind} {bare!r} comes from several distributions: say {both}")
        elsewhere = [f"{e.distribution}:{e.name}" for e in offered if e.name == bare]
        if elsewhere:
            raise UserError(f"there is no {self.kind} {name!r}; there is {' and '.join(elsewhere)}")
        near = difflib.get_close_matches(bare, [e.name for e in offered], n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"see `graphopt {self.kind}{'es' if self.kind == 'pass' else 's'}`"
        )
        raise UserError(f"there is no {self.kind} {name!r}; {hint}")

    def qualified(self, name: str, distribution: str) -> str:
        """The name, with its distribution where another offers the same name, so that it means this one's."""
        owners = [e.distribution for e in self.entries() if e.name == name]
        return f"{distribution}:{name}" if len(owners) > 1 and distribution in owners else name


@functools.cache
def _installed(group: str, path: tuple[str, ...]) -> list[tuple[importlib.metadata.EntryPoint, str, str]]:
    """The entry points of a group, each with the name and version of its distribution.

    Read once for every `sys.path`, which is what `path` is for: looking through all that is installed takes long, and
    each pass of a recipe asks.
    """
    labels: dict[int, tuple[str, str]] = {}
    found = []
    for point in importlib.metadata.entry_points(group=group):
        owner = point.dist
        if id(owner) not in labels:
            labels[id(owner)] = (owner.name or "unknown", owner.version) if owner is not None else ("unknown", "0")
        found.append((point, *labels[id(owner)]))
    return found


def _same(one: str, other: str) -> bool:
    """Whether two spellings name one distribution; case and the kind of dash do not count (PEP 503)."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


PASSES: Group[Pass] = Group("graphopt.passes", "pass", Pass)  # type: ignore[type-abstract]
BACKENDS: Group[Backend] = Group("graphopt.backends", "backend", Backend)  # type: ignore[type-abstract]


def make_pass(name: str, options: Mapping[str, Any]) -> tuple[Pass, Entry[Pass]]:
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
