"""Random recipes, and those that the backends and the tool itself come with."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

from graphopt.api import DEFAULT_RECIPE
from graphopt.fuzz.draw import Drawn, insisting
from graphopt.pipeline import PASSES, Step, make_backend
from graphopt.pipeline.recipe import parse
from graphopt.support.backend import Backend

_LONGEST = 8
_COSTLY = frozenset({"onnxsim"})
"""Passes of other people's, which are theirs to test."""


@functools.cache
def passes() -> tuple[str, ...]:
    """Names of all passes that promise the same numbers and change no input or output."""
    loaded = [entry.load() for entry in PASSES.entries()]
    return tuple(
        one.name for one in loaded
        if one.fidelity != "lossy" and not one.changes_signature and one.name not in _COSTLY
    )  # fmt: skip


def random_recipe(drawn: Drawn, source: random.Random) -> list[Step]:
    """The passes of the rules that are in the model, and others, in any order."""
    known = [name for name in passes() if not drawn.wild or _exact(name)]
    named = list(dict.fromkeys(rule.partition("/")[0] for rule in drawn.rules))
    chosen = [name for name in named if name in known]
    chosen += [source.choice(known) for _ in range(source.randint(0, _LONGEST - 3))]
    chosen += [name for name in ("canonicalize", "fuse") if name in known and source.random() < 0.3]
    # The pass of the first rule goes first most of the time: another may take its pattern away.
    first, rest = chosen[:1], chosen[1:]
    source.shuffle(rest)
    return steps(first + rest if source.random() < 0.8 else rest + first)


def whole_recipe(drawn: Drawn, source: random.Random) -> tuple[list[Step], Backend | None]:
    """The tool's own recipe, or a backend's, on its way to that backend."""
    from graphopt.pipeline.registry import BACKENDS

    if drawn.wild:
        return steps(["canonicalize", "eliminate-dead-code", "canonicalize"]), None
    names = ["", *(entry.name for entry in BACKENDS.entries())]
    name = source.choice(names)
    made, backend = _whole(name)
    return list(made), backend


def steps(names: Sequence[str]) -> list[Step]:
    """Passes by name, with their default options."""
    return [_step(name) for name in names]


@functools.cache
def _step(name: str) -> Step:
    entry = PASSES.find(name)
    return Step(entry.load_and_make(), entry.source)


@functools.cache
def _whole(name: str) -> tuple[tuple[Step, ...], Backend | None]:
    backend = make_backend(name) if name else None
    recipe = parse(backend.recipe() if backend is not None else DEFAULT_RECIPE)
    return tuple(Step(one, source) for one, source in recipe.build()), backend


@functools.cache
def _exact(name: str) -> bool:
    return PASSES.find(name).load().fidelity == "exact" and name not in insisting()
