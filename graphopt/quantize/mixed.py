"""Mixed precision: a choice for each layer, so that a budget is kept at the least noise.

A multiple-choice knapsack, solved exactly: minimize Σ cost(l, c)·x(l, c) over x ∈ {0, 1}, Σ_c x(l, c) = 1 for each
layer l, and Σ a(l, c)·x(l, c) ≤ A for each budget A (as in HAWQ-V3, arXiv:2011.10680, section 3.4). Noises of layers
are taken to add up, as independent errors do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.errors import UserError

_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SHARES = {"": 1.0, "%": 0.01}
_GAP = 1e-6
_SECONDS = 20.0


@dataclass(frozen=True)
class Choice:
    """One way to store and compute a layer.

    Attributes:
        name: of the scheme, as "w8a8" or "float".
        noise: share of the signal's power that it adds at the outputs of the model.
        size: bytes of the layer's weights.
        latency: as a share of that of the float model.
    """

    name: str
    noise: float
    size: float
    latency: float = 0.0


@dataclass(frozen=True)
class Budget:
    """What must hold; None is no limit.

    Attributes:
        size: bytes of all weights, at most.
        latency: of all layers, at most, as a share of that of the float model: a backend's costs tell no more.
        min_sqnr: dB at the outputs, at least.
    """

    size: float | None = None
    latency: float | None = None
    min_sqnr: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "size=4MB", "latency=60%", "min-sqnr=30", several of them separated by commas or spaces.

        Raises:
            UserError: a word is none of these.
        """
        found: dict[str, float] = {}
        for word in re.split(r"[\s,;]+", text.strip()):
            name, _, value = word.partition("=")
            match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z]*|%)", value)
            key = name.replace("-", "_")
            units = {"size": _UNITS, "latency": _SHARES, "min_sqnr": {"": 1.0, "DB": 1.0}}.get(key)
            if match is None or units is None or match[2].upper() not in units:
                raise UserError(f"the budget {word!r} cannot be read: write size=4MB, latency=60% or min-sqnr=30")
            found[key] = float(match[1]) * units[match[2].upper()]
        return cls(**found)


def choose(layers: Mapping[str, Sequence[Choice]], budget: Budget) -> dict[str, Choice]:
    """The choice for each layer that keeps the budget at the least noise.

    Where only the SQNR is bounded, the smallest size that reaches it. Among equals the result is the same in every run.

    Args:
        layers: what each layer may be, by its name.
        budget: what must hold.

    Raises:
        UserError: nothing keeps the budget; the sentence says what can be reached.
    """
    flat = [(name, choice) for name, choices in layers.items() for choice in choices if math.isfinite(choice.noise)]
    limits = {
        "size": (budget.size, np.array([choice.size for _, choice in flat])),
        "latency": (budget.latency, np.array([choice.latency for _, choice in flat])),
        "noise": (None if budget.min_sqnr is None else 10 ** (-budget.min_sqnr / 10),
                  np.array([choice.noise for _, choice in flat])),
    }  # fmt: skip
    bounded = {key: (limit, cost) for key, (limit, cost) in limits.items() if limit is not None}
    goal = "size" if set(bounded) == {"noise"} else "noise"
    taken = _solve(list(layers), flat, limits[goal][1], bounded)
    if taken is None:
        raise UserError(f"no choice of precisions keeps the budget: {_reachable(layers, bounded)}")
    return {flat[place][0]: flat[place][1] for place in taken}


def sqnr_db(chosen: Mapping[str, Choice]) -> float:
    """What the sum of noises predicts, in dB; 300 where there is none."""
    total = sum(choice.noise for choice in chosen.values())
    return min(300.0, -10 * math.log10(total)) if total > 0 else 300.0


def _solve(
    names: Sequence[str],
    flat: Sequence[tuple[str, Choice]],
    goal: np.ndarray,
    bounded: Mapping[str, tuple[float | None, np.ndarray]],
) -> list[int] | None:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    if not flat:
        return []
    rows = {name: row for row, name in enumerate(names)}
    entries = ([rows[name] for name, _ in flat], np.arange(len(flat)))
    one_each = csr_array((np.ones(len(flat)), entries), shape=(len(names), len(flat)))
    constraints = [LinearConstraint(one_each, 1, 1)]
    for limit, cost in bounded.values():
        assert limit is not None
        unit = max(float(np.abs(cost).max()), 1e-300)  # the solver's tolerances are absolute
        constraints.append(LinearConstraint((cost / unit)[None], -np.inf, limit / unit))
    unit = max(float(np.abs(goal).max()), 1e-300)
    # Where two are equal, the earlier choice.
    slight = np.arange(len(flat)) * (1e-9 / max(len(flat), 1))
    found = milp(
        goal / unit + slight, constraints=constraints, integrality=np.ones(len(flat)), bounds=Bounds(0, 1),
        options={"mip_rel_gap": _GAP, "time_limit": _SECONDS},
    )  # fmt: skip
    if found.x is None:
        return None
    taken = np.flatnonzero(found.x > 0.5).tolist()
    kept = all(limit is None or cost[taken].sum() <= limit * (1 + 1e-9) for limit, cost in bounded.values())
    return taken if kept and len(taken) == len(names) else None


def _reachable(layers: Mapping[str, Sequence[Choice]], bounded: Mapping[str, tuple[float | None, np.ndarray]]) -> str:
    told = []
    for key, (limit, _) in bounded.items():
        assert limit is not None
        if key == "noise":
            best = sum(min(choice.noise for choice in choices) for choices in layers.values())
            reached = 300.0 if best <= 0 else -10 * math.log10(best)
            told.append(f"min-sqnr={-10 * math.log10(limit):.1f} (at most {reached:.1f} dB can be reached)")
        else:
            least = sum(min(getattr(choice, key) for choice in choices) for choices in layers.values())
            told.append(f"{key}={limit:.6g} (at least {least:.6g})")
    return "; ".join(told) + ": relax it"
