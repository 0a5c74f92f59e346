"""Names that installed distributions offer under an entry-point group.

Nothing is imported until it is used or described. Two distributions that offer the same name are an error that names
both; `distribution:name` says which one is meant.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graphopt.errors import GraphoptError, PluginError, UserError
from graphopt.plugins.allowed import allowed, normal

T = TypeVar("T")
M = TypeVar("M")

HOME = "graphopt"
"""The distribution whose names are built in."""


class Unfit(ValueError):
    """What an entry point leads to is not what its group is for; the message goes on after the name."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A name that some distribution offers.

    Attributes:
        name: what it is called.
        distribution: the distribution that offers it.
        version: its version.
        point: where it is.
        accept: from the name and what the entry point leads to, what the group is of; raises `Unfit`.
    """

    name: str
    distribution: str
    version: str
    point: importlib.metadata.EntryPoint
    accept: Callable[[str, Any], T]

    @property
    def source(self) -> str:
        """Distribution and version, as reports show it."""
        return f"{self.distribution} {self.version}"

    @property
    def foreign(self) -> bool:
        """Whether it comes from another distribution than graphopt itself."""
        return normal(self.distribution) != HOME

    def load(self) -> T:
        """Import it.

        Raises:
            PluginError: the import fails, or what it finds is not of the right kind or goes by another name.
        """
        try:
            return self.accept(self.name, self.point.load())
        except Unfit as unfit:
            raise PluginError(f"{self.name} of {self.source} {unfit}") from None
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            raise PluginError(
                f"{self.name} of {self.source} cannot be imported: {type(error).__name__}: {_one_line(error)}"
            ) from error

    def load_and_make(self: Entry[type[M]], **options: Any) -> M:
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


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Group(Generic[T]):
    """The names of one entry-point group.

    Args:
        group: as in `pyproject.toml`.
        kind: what it is of, for errors.
        accept: see `Entry`.
    """

    def __init__(self, group: str, kind: str, accept: Callable[[str, Any], T]) -> None:
        self.group, self.kind, self.accept = group, kind, accept

    def entries(self) -> list[Entry[T]]:
        """Everything that is offered and allowed, by name and distribution; the same name may come twice."""
        rules = allowed()
        return [entry for entry in self._offered() if not entry.foreign or rules.admit(entry.distribution)]

    def denied(self) -> list[Entry[T]]:
        """What is offered and the user's configuration keeps out."""
        admitted = {(entry.name, entry.distribution) for entry in self.entries()}
        return [entry for entry in self._offered() if (entry.name, entry.distribution) not in admitted]

    def _offered(self) -> list[Entry[T]]:
        found: dict[tuple[str, str], Entry[T]] = {}
        for point, name, version in _installed(self.group, tuple(sys.path)):
            found[point.name, name] = Entry(point.name, name, version, point, self.accept)
        return [found[key] for key in sorted(found)]

    def find(self, name: str) -> Entry[T]:
        """The entry that a name (or `distribution:name`) means.

        Raises:
            UserError: no such name, several distributions offer it, or the one that does is not allowed.
        """
        distribution, _, bare = name.rpartition(":")
        offered = self.entries()
        meant = [e for e in offered if e.name == bare and normal(distribution) in ("", normal(e.distribution))]
        if len(meant) == 1:
            return meant[0]
        if meant:
            both = " and ".join(f"{e.distribution}:{e.name}" for e in meant)
            raise UserError(f"the {self.kind} {bare!r} comes from several distributions: say {both}")
        kept_out = [e for e in self.denied() if e.name == bare and normal(distribution) in ("", normal(e.distribution))]
        if kept_out:
            raise UserError(f"the {self.kind} {name!r} comes from {kept_out[0].source}, which {allowed().reason}")
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
