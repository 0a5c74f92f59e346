"""What can go wrong, in the user's words. Every error says what was wrong and what to do next."""

from __future__ import annotations

from pathlib import Path


class GraphoptError(Exception):
    """Base of every error that graphopt raises on purpose."""


class UserError(GraphoptError):
    """The request or an input file is wrong: the command prints one line and exits with 2."""


class ModelError(UserError):
    """A model file cannot be used.

    Attributes:
        file: the file, or None for a model given in memory.
        node: the offending node, where there is one.
        reason: one clause that says what is wrong.
    """

    def __init__(self, reason: str, *, file: str | Path | None = None, node: str | None = None) -> None:
        self.file, self.node, self.reason = (str(file) if file is not None else None), node, reason
        where = f"{self.file}: " if self.file else ""
        at = f" (node {node!r})" if node else ""
        super().__init__(f"{where}{reason}{at}")


class RecipeError(UserError):
    """A recipe or a pass option is wrong; the message names the nearest correct word where there is one."""


class PluginError(GraphoptError):
    """A plugin could not be loaded or clashes with another; the run goes on without it."""


class MissingExtraError(UserError):
    """A vendor's package is not installed; the message is the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} is not installed: run `pip install 'graphopt[{extra}]'`")


class PassError(GraphoptError):
    """A pass could not do its work; the manager rolls it back and names it."""
