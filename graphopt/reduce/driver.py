"""Try ways to make a model smaller until none keeps what is interesting about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphopt.reduce.steps import ATTEMPTS

Interesting = Callable[[Any], bool]
"""Tells whether an `onnx.ModelProto` still shows the behavior."""


@dataclass(frozen=True)
class Reduction:
    """What a reduction made.

    Attributes:
        model: the smallest model found, an `onnx.ModelProto`.
        tried: how many models were tried.
        nodes_before: of the main graph.
        nodes_after: of the main graph.
        finished: whether nothing smaller is left to try; not so where the time was up.
    """

    model: Any
    tried: int
    nodes_before: int
    nodes_after: int
    finished: bool


def reduce(model: Any, interesting: Interesting, *, seconds: float = 600.0) -> Reduction:
    """Make a model smaller as long as it stays interesting.

    Args:
        model: an `onnx.ModelProto` that is interesting; left as it is.
        interesting: called with smaller models, valid or not; what it raises is not caught.
        seconds: of wall time after which the smallest so far is returned.
    """
    work = _Work(model, interesting, time.monotonic() + seconds)
    best, before = model, None
    while before is None or before is not best:
        before = best
        for attempt in ATTEMPTS:
            best = attempt(best, work)
    return Reduction(best, work.tried, len(model.graph.node), len(best.graph.node), not work.over)


class _Work:
    """The question, asked once of each model, until the time is up."""

    def __init__(self, model: Any, interesting: Interesting, deadline: float) -> None:
        self._interesting, self._deadline = interesting, deadline
        self._asked: dict[bytes, bool] = {_key(model): True}
        self.tried = 0

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._deadline

    def __call__(self, model: Any) -> bool:
        key = _key(model)
        if key not in self._asked:
            if self.over:
                return False
            self.tried += 1
            self._asked[key] = self._interesting(model)
        return self._asked[key]


def _key(model: Any) -> bytes:
    import hashlib

    return hashlib.sha256(model.SerializeToString(deterministic=True)).digest()
