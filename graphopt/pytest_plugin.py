"""The conformance kit in pytest: `pytest --graphopt-plugin my-plugin` adds a test for each of its questions.

In a plugin's own `pyproject.toml`:

    [tool.pytest.ini_options]
    addopts = "--graphopt-plugin my-plugin"

Imports nothing slow: pytest loads this wherever graphopt is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("graphopt")
    group.addoption(
        "--graphopt-plugin", action="append", default=[], metavar="DISTRIBUTION",
        help="Run graphopt's conformance kit on what this installed distribution brings.",
    )  # fmt: skip


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the questions behind the tests that were collected."""
    for plugin in config.getoption("--graphopt-plugin"):
        items.extend(Conformance.from_parent(session, name=f"graphopt:{plugin}", plugin=plugin).collect())


class Conformance(pytest.Collector):
    """The questions to one distribution."""

    def __init__(self, *, plugin: str, **more: Any) -> None:
        super().__init__(**more)
        self.plugin = plugin

    def collect(self) -> Iterable[pytest.Item]:
        """A test for each question."""
        from graphopt.testing.conformance import distributions, subjects

        for name in distributions(self.plugin):
            for subject, questions in subjects(name):
                for question, ask in questions:
                    yield _Asked.from_parent(self, name=f"{subject}: {question}", ask=ask)


class _Asked(pytest.Item):
    """One question."""

    def __init__(self, *, ask: Callable[[], None], **more: Any) -> None:
        super().__init__(**more)
        self.ask = ask

    def runtest(self) -> None:
        from graphopt.testing.conformance import Skip

        try:
            self.ask()
        except Skip as why:
            pytest.skip(str(why))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """One line, with what was wrong; the traceback is the plugin's own where it raised."""
        from graphopt.errors import GraphoptError

        if isinstance(excinfo.value, AssertionError | GraphoptError):
            return f"{self.name}: {excinfo.value}"
        return str(super().repr_failure(excinfo))
