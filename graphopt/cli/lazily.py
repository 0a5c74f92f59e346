"""Modules that libraries import at once and a command hardly ever uses are loaded when they are first used.

onnx_ir imports sympy for arithmetic on symbolic dimensions, which graphopt does not do: a third of a second of every
command. Python's own `LazyLoader` puts an empty module in its place, which fills itself on the first access.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SELDOM_USED = ("sympy", "onnx_ir._symbolic_shapes", "google.protobuf.json_format")


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self.names else None
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def load_lazily(names: Sequence[str] = SELDOM_USED) -> None:
    """From now on in this process, load these modules on first use; for a process that is graphopt's own."""
    if not any(isinstance(finder, _Finder) and finder.names.issuperset(names) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(names))
