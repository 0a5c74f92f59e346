"""The conformance kit: what graphopt expects of a plugin, asked of it question by question.

Of a pass: does it load, are its options sound, and on generated and on small real models: does it leave valid graphs,
keep its fidelity, do the same twice, print nothing, stay within a time. Of a rule: the shared property test. Of a
backend: are its table and its recipe sound; where its toolchain is here, does it compile and run. Of a command: does
it show its help.
"""

from __future__ import annotations

import contextlib
import functools
import io
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphopt.errors import GraphoptError, PluginError, UserError
from graphopt.ir import to_bytes
from graphopt.options import described
from graphopt.pipeline import BACKENDS, PASSES, Context, Pass, PassManager, RewritePass, Step
from graphopt.pipeline.manager import Verify
from graphopt.plugins.allowed import normal
from graphopt.plugins.commands import COMMANDS
from graphopt.plugins.entry_points import Entry
from graphopt.testing.backends import backend_questions
from graphopt.testing.rules import check_rule
from graphopt.testing.samples import Fresh, samples

Outcome = Literal["passed", "failed", "skipped"]
_DRAWS = 12
"""Graphs drawn from the examples of each rule."""


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        subject: what was asked, as "pass my-pass".
        question: what about it.
        outcome: passed, failed, or skipped where it cannot be asked here.
        detail: why not passed, on one line.
    """

    subject: str
    question: str
    outcome: Outcome
    detail: str = ""


class Skip(Exception):
    """A question that cannot be asked here; says why."""


Question = tuple[str, Callable[[], None]]


def distributions(plugin: str | None) -> list[str]:
    """The distributions to check.

    Args:
        plugin: an installed one, or the folder of one; None for all that are not graphopt itself.

    Raises:
        UserError: it is not installed, or brings nothing.
    """
    groups: tuple[Any, ...] = (PASSES, BACKENDS, COMMANDS)
    entries = [entry for group in groups for entry in group.entries() if entry.foreign]
    installed = sorted({entry.distribution for entry in entries})
    if plugin is None:
        return installed
    name, file = plugin, Path(plugin, "pyproject.toml")
    if file.is_file():
        name = str(tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("name", ""))
    found = [one for one in installed if normal(one) == normal(name)]
    if not found:
        place = f"`pip install -e {plugin}`" if file.is_file() else "`graphopt plugins`"
        raise UserError(f"no installed distribution {name!r} brings anything to graphopt: see {place}")
    return found


def check_distribution(name: str, *, limit: float = 60.0) -> Iterator[Finding]:
    """Ask all questions of what a distribution brings.

    Args:
        name: of the installed distribution.
        limit: seconds that a pass may take on one model.
    """
    for subject, questions in subjects(name, limit=limit):
        for question, ask in questions:
            yield answer(subject, question, ask)


def subjects(name: str, *, limit: float = 60.0) -> Iterator[tuple[str, list[Question]]]:
    """Everything that a distribution brings, each with the questions to ask; arguments as `check_distribution`."""
    kinds: tuple[tuple[str, Any, Callable[[Any, float], list[Question]]], ...] = (
        ("pass", PASSES, pass_questions), ("backend", BACKENDS, _backend_questions),
        ("command", COMMANDS, _command_questions),
    )  # fmt: skip
    for kind, group, questions in kinds:
        for entry in group.entries():
            if normal(entry.distribution) == normal(name):
                yield f"{kind} {entry.name}", questions(entry, limit)


def answer(subject: str, question: str, ask: Callable[[], None]) -> Finding:
    """Ask one question; whatever it raises is the answer no."""
    try:
        ask()
    except Skip as why:
        return Finding(subject, question, "skipped", str(why))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a stranger's code may raise anything)
        words = " ".join(str(error).split()) or type(error).__name__
        known = isinstance(error, GraphoptError | AssertionError)
        return Finding(subject, question, "failed", words if known else f"{type(error).__name__}: {words}")
    return Finding(subject, question, "passed")


def _loads(entry: Entry[Any]) -> Any | None:
    try:
        return entry.load()
    except PluginError:
        return None


def _load(entry: Entry[Any]) -> None:
    entry.load()


def pass_questions(entry: Entry[type[Pass]], limit: float) -> list[Question]:
    """What to ask of a pass; `limit` is seconds on one model."""
    asked: list[Question] = [("loads", lambda: _load(entry))]
    found = _loads(entry)
    if found is None:
        return asked
    asked.append(("has a summary and options that are described", lambda: _documented(found)))
    if issubclass(found, RewritePass):
        asked += [(f"rule {rule.name} keeps what it declares", functools.partial(_rule, rule)) for rule in found.rules]
    asked += [(f"on {name}", functools.partial(_conforms, entry, fresh, limit)) for name, fresh in samples()]
    return asked


def _documented(found: type[Pass]) -> None:
    if not found.summary():
        raise AssertionError("it has no docstring: its first line is what `graphopt passes` shows")
    for option in described(found.Options):
        if option["default"] is None and "None" not in option["type"]:
            raise AssertionError(f"the option {option['name']} has no default")


def _rule(rule: Any) -> None:
    for seed in range(_DRAWS):
        check_rule(rule, random.Random(seed))


def _conforms(entry: Entry[type[Pass]], fresh: Fresh, limit: float) -> None:
    first = _applied(entry, fresh, limit, "each")
    if first != _applied(entry, fresh, limit, "off"):
        raise AssertionError("does something else the second time: it must be deterministic")


def _applied(entry: Entry[type[Pass]], fresh: Fresh, limit: float, verify: Verify) -> bytes:
    """The model that a pass makes, where the manager finds nothing wrong with it."""
    from graphopt.verify import generate

    original = fresh()
    given = list(generate(original, samples=2))
    manager = PassManager(
        [Step(entry.load_and_make(), entry.source)], verify=verify, samples=lambda: given, pass_timeout=limit
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = manager.run(fresh, Context())
    record = result.records[0]
    if record.outcome in ("failed", "rolled_back"):
        raise AssertionError(record.detail)
    if printed.getvalue():
        raise AssertionError(f"prints on standard output: {printed.getvalue().splitlines()[0]!r}")
    return to_bytes(result.model)


def _backend_questions(entry: Entry[Any], limit: float) -> list[Question]:
    asked: list[Question] = [("loads", lambda: _load(entry))]
    return asked if _loads(entry) is None else asked + backend_questions(entry, limit)


def _command_questions(entry: Entry[Any], limit: float) -> list[Question]:
    asked: list[Question] = [("loads", lambda: _load(entry))]
    return asked if _loads(entry) is None else [*asked, ("shows its help", lambda: _help(entry))]


def _help(entry: Entry[Any]) -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(entry.load(), ["--help"])
    if done.exit_code:
        raise AssertionError(f"--help ends with {done.exit_code}: {done.output.strip()[:200]}")
