"""A recipe: the passes of a run and their options, as a TOML file.

    description = "smaller for the phone"

    [[pass]]
    name = "fuse-conv-bn"

    [[pass]]
    name = "prune-channels"
    ratio = 0.3

    [backend]
    io_layout = "nhwc"

Every key beside `name` is an option of that pass, every key of `backend` one of the backend that the run is for. A
report holds the recipe that repeats its run.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graphopt.errors import PluginError, RecipeError, UserError
from graphopt.options import parse_spec
from graphopt.pipeline.passes import Pass, Unloadable
from graphopt.pipeline.registry import PASSES

_KEYS = ("description", "pass", "backend")


@dataclass(frozen=True)
class Step:
    """A pass by name, with its options as they were written."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Steps in order, and options of the backend."""

    steps: tuple[Step, ...]
    description: str = ""
    backend: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: Recipe) -> Recipe:
        options = {**self.backend, **other.backend}
        return Recipe(self.steps + other.steps, self.description or other.description, options)

    def build(self) -> list[tuple[Pass, str]]:
        """The passes with their options checked, each with its source (distribution and version).

        Raises:
            UserError: a pass does not exist, or an option is wrong.
        """
        built: list[tuple[Pass, str]] = []
        for step in self.steps:
            entry = PASSES.find(step.name)
            try:
                built.append((entry.load_and_make(**step.options), entry.source))
            except PluginError as error:
                built.append((Unloadable(entry.name, str(error)), entry.source))
        return built

    def at_home(self, distribution: str) -> Recipe:
        """The same recipe, where names that others offer as well mean those of one distribution."""
        return replace(self, steps=tuple(replace(s, name=PASSES.qualified(s.name, distribution)) for s in self.steps))

    def to_toml(self) -> str:
        """The recipe as text that `parse` reads back."""
        lines = [f"description = {_toml(self.description)}", ""] if self.description else []
        for step in self.steps:
            lines += ["[[pass]]", f"name = {_toml(step.name)}"]
            lines += [f"{key} = {_toml(value)}" for key, value in step.options.items()]
            lines.append("")
        if self.backend:
            lines += ["[backend]", *(f"{key} = {_toml(value)}" for key, value in self.backend.items()), ""]
        return "\n".join(lines)


def parse(text: str, *, source: str = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Raises:
        RecipeError: not TOML, or a key that recipes do not have (the message names the nearest).
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, digits beyond Python's limit, or nested too deep
        raise RecipeError(f"{source}: not valid TOML: {error}") from None
    for key in data:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"a recipe has {' and '.join(_KEYS)}"
            raise RecipeError(f"{source}: unknown key {key!r}; {hint}")
    steps = data.get("pass", [])
    if not isinstance(steps, list) or not all(isinstance(s, dict) and isinstance(s.get("name"), str) for s in steps):
        raise RecipeError(f"{source}: every pass is a table [[pass]] with a name")
    description, backend = data.get("description", ""), data.get("backend", {})
    if not isinstance(description, str):
        raise RecipeError(f"{source}: description is a text")
    if not isinstance(backend, dict):
        raise RecipeError(f"{source}: [backend] is a table of its options")
    told = tuple(Step(s["name"], {k: v for k, v in s.items() if k != "name"}) for s in steps)
    return Recipe(told, description, backend)


def read(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises:
        RecipeError: it cannot be read or is not a recipe.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not a text file") from None


def from_specs(specs: Sequence[str]) -> Recipe:
    """A recipe from what `-p` was given: "name" or "name:key=value,key=value"; "distribution:name" is a name too.

    Raises:
        RecipeError: an option without a value, or no name.
    """
    return Recipe(tuple(Step(*parse_spec(spec, "-p")) for spec in specs))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if not isinstance(value, str):
        raise UserError(f"a recipe cannot hold {type(value).__name__}")
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in text) + '"'
