"""Which distributions may bring passes, backends and commands: the user's configuration.

    # ~/.config/graphopt/config.toml, or the file that GRAPHOPT_CONFIG names
    [plugins]
    allow = ["mycorp-*"]
    deny = ["mycorp-untested"]

A distribution enters where `allow` has it and `deny` has not; without `allow`, all that are installed enter. Names are
patterns with `*`, compared as PEP 503 does. What graphopt brings itself always enters.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from graphopt.errors import UserError

_KEYS = ("allow", "deny")


@dataclass(frozen=True)
class Allowed:
    """The rules of a configuration file.

    Attributes:
        allow: patterns of names that may enter.
        deny: patterns of names that may not, whatever `allow` says.
        file: where they are written, "" where nowhere.
    """

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    file: str = ""

    def admit(self, distribution: str) -> bool:
        """Whether a distribution may enter."""
        name = normal(distribution)
        return _any(name, self.allow) and not _any(name, self.deny)

    @property
    def reason(self) -> str:
        """Why one that may not enter does not."""
        return f"{self.file} does not allow: change `allow` or `deny` under [plugins] there"


def allowed() -> Allowed:
    """The rules in force now.

    Raises:
        UserError: the file cannot be read or says something else than lists of names.
    """
    chosen = os.environ.get("GRAPHOPT_CONFIG")
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    file = Path(chosen) if chosen else Path(home, "graphopt", "config.toml")
    try:
        return _read(file, file.stat().st_mtime_ns)
    except OSError as error:
        if chosen:
            raise UserError(f"GRAPHOPT_CONFIG {chosen}: {(error.strerror or str(error)).lower()}") from None
        return Allowed()


@functools.lru_cache(maxsize=4)
def _read(file: Path, stamp: int) -> Allowed:
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8")).get("plugins", {})
    except (ValueError, RecursionError) as error:  # also digits beyond Python's limit, and text that is not UTF-8
        raise UserError(f"{file}: not valid TOML: {error}") from None
    if not isinstance(told, dict) or any(key not in _KEYS for key in told):
        raise UserError(f"{file}: [plugins] has {' and '.join(_KEYS)}, and nothing else")
    for key, names in told.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f'{file}: {key} under [plugins] is a list of names, as ["mycorp-*"]')
    return Allowed(tuple(told.get("allow", ["*"])), tuple(told.get("deny", [])), str(file))


def normal(name: str) -> str:
    """A distribution's name for comparing; case and the kind of dash do not count (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, normal(pattern)) for pattern in patterns)
