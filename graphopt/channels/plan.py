"""What leaves: units are taken greedily where they cost least for what they save, until the budget is met.

Each family is looked at several steps ahead, so that a costly unit before cheap ones does not stop it; the last steps
are the ones that end nearest to the budget.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from graphopt.channels.cost import Ledger
from graphopt.channels.criteria import Ranking
from graphopt.channels.graph import Cells

Scope: TypeAlias = Literal["global", "uniform"]

_AHEAD = (1, 2, 4, 8)
_LEAST = 0.1
"""Share of a family's units that stays until nothing else can leave."""
_NEAR = 0.005
"""Of the whole cost: how far beyond the budget a step may end."""


@dataclass
class Plan:
    """What leaves.

    Attributes:
        ledger: what is left, and what it costs.
        taken: how many units leave each ranking's family.
        multiples: what the number of units that stay of each is a multiple of.
    """

    ledger: Ledger
    taken: list[int] = field(default_factory=list)
    multiples: list[int] = field(default_factory=list)


def plan(
    rankings: Sequence[Ranking],
    ledger: Ledger,
    budget: float,
    *,
    scope: Scope = "global",
    round_to: int = 1,
    wide: int = 0,
    before: Plan | None = None,
    guarded: Ledger | None = None,
) -> Plan:
    """Choose units until what is left costs `budget` of the whole.

    Args:
        rankings: of the families that may lose units; mixed ones are taken last.
        ledger: of the model; units are removed from it.
        budget: share of the whole cost that shall be left, between 0 and 1.
        scope: "global" compares all families, "uniform" takes the same share of each.
        round_to: what is left of a family is a multiple of this, where the family is not smaller.
        wide: families of fewer units than this are not rounded.
        before: a plan to go on from; its removals are made in the ledger first.
        guarded: costs that must not fall any more: families that they depend on are left out.
    """
    made = Plan(ledger, [0] * len(rankings))
    made.multiples = [round_to if len(one.order) > max(round_to, wide - 1) else 1 for one in rankings]
    if before is not None:
        made.taken = list(before.taken)
        ledger.remove(np.flatnonzero(before.ledger.gone))
    fixed = {n for n, one in enumerate(rankings) if guarded is not None and _moves(guarded, one)}
    soft = np.array([one.family.mixed for one in rankings], bool)
    # First what only takes itself away, and not nearly all of it; then the same to the last unit; then the rest.
    for allowed, least in ((~soft, _LEAST), (~soft | soft, _LEAST), (~soft | soft, 0.0)):
        if ledger.total <= (budget + _NEAR) * ledger.whole:
            break
        run = _uniform if scope == "uniform" else _greedy
        chosen = [(n, one) for n, one in enumerate(rankings) if allowed[n] and n not in fixed]
        run(made, chosen, budget, least)
    return made


def _moves(ledger: Ledger, ranking: Ranking) -> bool:
    return ledger.saving(ledger.loss(_cells(ranking, 0, len(ranking.order)))) > 0


def _greedy(made: Plan, rankings: list[tuple[int, Ranking]], budget: float, least: float) -> None:
    ledger, goal = made.ledger, budget * made.ledger.whole
    slack = _NEAR * ledger.whole
    heap = [(-1.0, number) for number, _ in rankings]
    heapq.heapify(heap)
    of = dict(rankings)
    waiting: list[tuple[float, int]] = []
    while heap and ledger.total > goal + slack:
        _, number = heapq.heappop(heap)
        found = _slope(made, number, of[number], least)
        if found is None:
            continue
        slope, count = found
        if heap and slope > heap[0][0]:
            heapq.heappush(heap, (slope, number))
            continue
        cells = _cells(of[number], made.taken[number], count)
        if ledger.total - ledger.saving(ledger.loss(cells)) < goal - slack:
            waiting.append((slope, number))
            continue
        _take(made, number, of[number], count)
        heapq.heappush(heap, (slope, number))
    _finish(made, [(number, of[number]) for _, number in waiting], goal, least)


def _finish(made: Plan, rankings: list[tuple[int, Ranking]], goal: float, least: float) -> None:
    """Steps that go beyond the budget: the one that ends nearest to it, if that is nearer than where we are."""
    ledger = made.ledger
    over = ledger.total - goal
    best: tuple[float, int, Ranking, int] | None = None
    for number, ranking in rankings:
        count = _count(made, number, ranking, least)
        loss = ledger.loss(_cells(ranking, made.taken[number], count)) if count else {}
        if not count or not ledger.fits(loss):
            continue
        beyond = abs(over - ledger.saving(loss))
        if beyond < over and (best is None or beyond < best[0]):
            best = beyond, number, ranking, count
    if best is not None:
        _take(made, *best[1:])


def _uniform(made: Plan, rankings: list[tuple[int, Ranking]], budget: float, least: float) -> None:
    """The same share of each family, found by taking one hundredth after the other."""
    goal = budget * made.ledger.whole
    for percent in range(1, 100):
        for number, ranking in rankings:
            units = len(ranking.order)
            while made.taken[number] < percent * units // 100 and made.ledger.total > goal:
                count = _count(made, number, ranking, least)
                cells = _cells(ranking, made.taken[number], count)
                if not count or not made.ledger.fits(made.ledger.loss(cells)):
                    break
                _take(made, number, ranking, count)


def _slope(made: Plan, number: int, ranking: Ranking, least: float) -> tuple[float, int] | None:
    """Cost for each unit of saving of a family's best next steps, and the first of them; None where none is left."""
    ledger, taken = made.ledger, made.taken[number]
    step = _count(made, number, ranking, least)
    if not step or not ledger.fits(ledger.loss(_cells(ranking, taken, step))):
        return None
    most = len(ranking.order) - max(1, int(np.ceil(least * len(ranking.order))))
    best = np.inf
    for ahead in _AHEAD:
        count = min(step + (ahead - 1) * made.multiples[number], most - taken)
        saving = ledger.saving(ledger.loss(_cells(ranking, taken, count)))
        if saving > 0:
            best = min(best, (ranking.costs[taken + count] - ranking.costs[taken]) / saving)
    return (float(best), step) if np.isfinite(best) else None


def _count(made: Plan, number: int, ranking: Ranking, least: float) -> int:
    """How many units the next step of a family takes; 0 where none may leave."""
    units = len(ranking.order)
    left = units - made.taken[number]
    floor = max(1, int(np.ceil(least * units)))
    multiple = made.multiples[number]
    step = left % multiple or multiple
    return step if left - step >= floor else 0


def _cells(ranking: Ranking, taken: int, count: int) -> Cells:
    units = ranking.family.units
    return np.concatenate([units[one].cells for one in ranking.order[taken : taken + count]])


def _take(made: Plan, number: int, ranking: Ranking, count: int) -> None:
    made.ledger.remove(_cells(ranking, made.taken[number], count))
    made.taken[number] += count
