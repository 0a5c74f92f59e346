"""The public names are a promise: they change only together with tests/public_api.txt."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import graphopt

FROZEN = Path(__file__).with_name("public_api.txt")
MODULES = (
    "graphopt",
    "graphopt.errors",
    "graphopt.ir",
    "graphopt.pipeline",
    "graphopt.rewrite",
    "graphopt.support.backend",
    "graphopt.support.child",
    "graphopt.support.table",
    "graphopt.testing",
    "graphopt.verify",
)


def public_names() -> list[str]:
    """`module.name` of all that others may use: `__all__`, or what a module without one defines itself."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        defined = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == name and n[0] != "_"]
        found += [f"{name}.{n}" for n in getattr(module, "__all__", defined)]
    return sorted(found)


def test_public_names_change_only_when_announced() -> None:
    expected = FROZEN.read_text(encoding="utf-8").split()
    actual = public_names()
    gone, new = sorted(set(expected) - set(actual)), sorted(set(actual) - set(expected))
    assert actual == expected, (
        f"gone: {gone}; new: {new}. Plugins rely on these names: if the change is meant, say so in the changelog and "
        f"write the new list to {FROZEN.name} (one name a line, sorted)"
    )


def test_every_public_name_exists() -> None:
    for name in public_names():
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is not None


def test_every_module_can_be_imported_alone() -> None:
    for module in pkgutil.walk_packages(graphopt.__path__, "graphopt."):
        if module.name != "graphopt.__main__":
            importlib.import_module(module.name)
