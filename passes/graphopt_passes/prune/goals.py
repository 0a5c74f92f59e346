"""Goals that a share of the work cannot be told for beforehand: it is found by bisection, on copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from graphopt.channels.latency import latency_share

if TYPE_CHECKING:
    import numpy as np

    from graphopt.channels.prune import Outcome, Pruner, Request

_TRIES = 6


def as_good(pruner: Pruner, request: Request, is_kept: Callable[[Outcome], bool]) -> Outcome:
    """Prune as far as what is asked of the answers is kept."""
    best = pruner.prune(replace(request, budget=1.0))

    def is_good(share: float) -> bool:
        nonlocal best
        tried = pruner.prune(replace(request, budget=share))
        good = is_kept(tried)
        best = tried if good else best
        return good

    _bisected(is_good)
    return best


def as_fast(pruner: Pruner, request: Request, aim: float, sample: Mapping[str, np.ndarray]) -> tuple[Outcome, float]:
    """Prune no further than it takes for a share of the latency; the outcome with the share that it has."""
    bare = replace(request, recovery=False)

    def is_slow(share: float) -> bool:
        return latency_share(pruner.model, pruner.prune(replace(bare, budget=share)).model, sample) > aim

    low, high = _bisected(is_slow)
    outcome = pruner.prune(replace(request, budget=low or high))
    return outcome, latency_share(pruner.model, outcome.model, sample)


def _bisected(is_above: Callable[[float], bool]) -> tuple[float, float]:
    """Two neighboring shares of the work, between which a question gets another answer."""
    low, high = 0.0, 1.0
    for _ in range(_TRIES):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return low, high
