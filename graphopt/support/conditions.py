"""Which conditions separate the probes that a vendor takes from those that it refuses: limits, then combinations.

A limit keeps one fact to the values that some taken probe has. Numbers and ordered classes are filled in between
values that were taken, where no refused probe says otherwise; beyond them nothing is promised.

A refused probe that breaks no limit is explained by the fewest of its values that no taken probe has together, widened
to the other values that the same evidence refuses. Of several such explanations the best is the one that explains most
refused probes, of those the one whose absence among the taken probes would be the greatest coincidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from graphopt.support.predicate import UNKNOWN, All, Fact, Is, Not
from graphopt.support.result import Result
from graphopt.support.table import Condition, Effect

_ORDERED: Final[Mapping[str, tuple[Fact, ...]]] = {
    "attr.strides": ("1", "equal", "unequal"),
    "attr.dilations": ("1", "equal", "unequal"),
    "attr.pads": ("zero", "symmetric", "asymmetric", "wide"),
    "window.pads": ("zero", "symmetric", "asymmetric", "wide"),
    "window.size": ("1", "up to 3", "from 4"),
    "window.volume": ("up to 256", "up to 1024", "up to 4096", "up to 10000", "more"),
    "attr.group": ("1", "grouped", "depthwise"),
    "attr.axis": ("first", "channel", "inner", "last"),
    "broadcast": ("same", "scalar", "channel", "trailing", "one-sided", "mutual"),
}
"""All values of facts that have few and whose values lie between one another."""
_CLOSED: Final[Mapping[str, tuple[Fact, ...]]] = {
    **_ORDERED,
    "qdq.bias": ("none", "int32"),
    "window.rest": ("none", "some"),
    "attr.auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    **{f"attr.{name}": (0, 1) for name in ("ceil_mode", "count_include_pad", "keepdims", "transA", "transB")},
}
"""All values of facts that have few."""

_FREE: Final = frozenset({"batch", "axis.counted", "window.volume"})
"""Facts of which only what refused probes show is forbidden: few operators care about them."""
_FEW: Final = 4
"""How many probe ids a condition or a row quotes."""
_LONGEST: Final = 4
"""Most facts that a forbidden combination may have."""
_CANDIDATES: Final = 16
"""How many explanations of a refused probe are compared by what they explain besides."""
_CHANCE: Final = 3.0
"""How many taken probes a combination must be expected to have by chance, for one refused probe to forbid it.

With three expected, to find none has a probability of 5 % (Poisson, e⁻³).
"""

Atom = tuple[str, Fact]


def all_values(fact: str) -> tuple[Fact, ...]:
    """All values of a fact that has few, () for others."""
    return _CLOSED.get(fact, ())


def conditions(
    taken: Sequence[Result], refused: Sequence[Result], limited: Collection[str] | None = None
) -> tuple[list[Condition], list[Result]]:
    """Conditions that hold for every taken probe and fail for every refused one that can be told from those.

    Args:
        taken: probes that were taken.
        refused: probes that were not.
        limited: facts that are kept to the values that taken probes have; all of them where None. Of the others only
            what refused probes show is forbidden.

    Returns:
        The conditions, and the refused probes that none of them explains.
    """
    limits = {name: must for name, must in _limits(taken, refused) if limited is None or name in limited}
    broken = {
        result.id: [name for name, must in limits.items() if must.holds(result.facts) is False] for result in refused
    }
    found = []
    for name, must in limits.items():
        # A probe that breaks this limit alone shows what the limit is for; one that breaks several may show another.
        guilty = [result for result in refused if broken[result.id] == [name]]
        guilty = guilty or [result for result in refused if name in broken[result.id]]
        found.append(_condition(must, guilty))
    left = [result for result in refused if not broken[result.id]]
    combinations, doubtful = _combinations(taken, left)
    return found + combinations, doubtful


def quoted(results: Sequence[Result]) -> tuple[str, ...]:
    """The first few probe ids, as evidence."""
    return tuple(dict.fromkeys(result.id for result in results))[:_FEW]


def _limits(taken: Sequence[Result], refused: Sequence[Result]) -> Iterator[tuple[str, Is]]:
    for name in sorted({name for result in (*taken, *refused) for name in result.facts}):
        seen = {result.facts[name] for result in taken if name in result.facts} - {UNKNOWN}
        seen |= _between(name, seen, {result.facts[name] for result in refused if name in result.facts})
        if seen and name not in _FREE and not _everything(name, seen):
            values = sorted(seen, key=lambda value: (str(type(value)), str(value)))
            yield name, Is.model_validate({"fact": name, "in": values})


def _between(name: str, seen: set[Fact], against: set[Fact]) -> set[Fact]:
    """Values between those seen that no refused probe has."""
    if name in _ORDERED:
        order = _ORDERED[name]
    elif name.endswith(".rank") and all(isinstance(value, int) for value in seen):
        order = tuple(range(10))
    else:
        return set()
    places = [order.index(value) for value in seen if value in order]
    return set(order[min(places) : max(places) + 1]) - against if places else set()


def _everything(name: str, seen: set[Fact]) -> bool:
    """Whether the values seen are all that there are, or show that the value of an open fact does not matter."""
    if {True, False} <= {value for value in seen if isinstance(value, bool)} or {"default", "other"} <= seen:
        return True
    return name in _CLOSED and set(_CLOSED[name]) <= seen


class _Evidence:
    """Which probes have which values, as sets of numbers, so that a combination is an intersection."""

    def __init__(self, taken: Sequence[Result], left: Sequence[Result]) -> None:
        self.taken, self.left = list(taken), list(left)
        self._taken: dict[Atom, frozenset[int]] = {}
        self._left: dict[Atom, frozenset[int]] = {}

    def taken_with(self, atoms: Sequence[Atom]) -> frozenset[int]:
        """Taken probes that have all of the values; a version that lacks a fact is no evidence that it matters."""
        return self._all(self._taken, self.taken, atoms, lacking=True)

    def left_with(self, atoms: Sequence[Atom]) -> frozenset[int]:
        """Refused probes that have all of the values."""
        return self._all(self._left, self.left, atoms, lacking=False)

    def _all(
        self, cache: dict[Atom, frozenset[int]], results: Sequence[Result], atoms: Sequence[Atom], *, lacking: bool
    ) -> frozenset[int]:
        sets = []
        for name, value in atoms:
            if (name, value) not in cache:
                cache[name, value] = frozenset(
                    index
                    for index, result in enumerate(results)
                    if (result.facts[name] == value if name in result.facts else lacking)
                )
            sets.append(cache[name, value])
        return frozenset.intersection(*sets)

    def values(self, name: str) -> list[Fact]:
        """All values that any probe has of a fact."""
        every = {result.facts[name] for result in (*self.taken, *self.left) if name in result.facts} - {UNKNOWN}
        return sorted(every, key=lambda value: (str(type(value)), str(value)))


def _combinations(taken: Sequence[Result], left: Sequence[Result]) -> tuple[list[Condition], list[Result]]:
    found: list[Condition] = []
    doubtful: list[Result] = []
    evidence = _Evidence(taken, left)
    waiting = list(left)
    while waiting:
        atoms = _separate(waiting[0], evidence)
        if atoms is None:
            doubtful.append(waiting.pop(0))
            continue
        forbidden = All.model_validate({"all": [
            {"fact": name, "in": values} for name, values in _widened(atoms, evidence).items()
        ]})  # fmt: skip
        names = set(forbidden.facts())
        guilty = [result for result in left if names <= result.facts.keys() and forbidden.holds(result.facts)]
        found.append(_condition(Not.model_validate({"not": forbidden}), guilty))
        explained = {result.id for result in guilty}
        waiting = [result for result in waiting if result.id not in explained]
    return found, doubtful


def _separate(probe: Result, evidence: _Evidence) -> tuple[Atom, ...] | None:
    """The fewest values of a refused probe that no taken probe has together; None where there are none.

    Where neither several refused probes nor chance speak for any such combination, all the values of this probe are
    forbidden together, and nothing is concluded for others.
    """
    own: list[Atom] = [(name, value) for name, value in sorted(probe.facts.items()) if value != UNKNOWN]
    everyone = len(evidence.taken)
    # a value that every taken probe has separates nothing
    own = [atom for atom in own if len(evidence.taken_with([atom])) < everyone]
    for count in range(1, _LONGEST + 1):
        scored: list[tuple[int, float, tuple[Atom, ...]]] = []
        for atoms in itertools.combinations(own, count):
            if evidence.taken_with(atoms):
                continue
            chance = float(everyone)
            for atom in atoms:
                chance *= len(evidence.taken_with([atom])) / max(everyone, 1)
            scored.append((len(evidence.left_with(atoms)), chance, atoms))
        best = sorted(scored, key=lambda item: item[:2], reverse=True)[:_CANDIDATES]
        if best and (best[0][0] > 1 or best[0][1] >= _CHANCE):
            return max(best, key=lambda item: (_explained(item[2], evidence), item[1]))[2]
        if best:
            break
    return None if not own or evidence.taken_with(own) else tuple(own)


def _explained(atoms: tuple[Atom, ...], evidence: _Evidence) -> int:
    """How many refused probes a combination explains once it is widened."""
    wide = _widened(atoms, evidence)
    any_of = [frozenset().union(*(evidence.left_with([(name, value)]) for value in wide[name])) for name in wide]
    return len(frozenset.intersection(*any_of))


def _widened(atoms: tuple[Atom, ...], evidence: _Evidence) -> dict[str, list[Fact]]:
    """To each value of a combination the other values that are refused, too, together with the rest of it."""
    wide: dict[str, list[Fact]] = {name: [value] for name, value in atoms}
    for name, value in atoms:
        rest = [list(itertools.product([other], wide[other])) for other in wide if other != name]

        def taken_at(other: Fact, name: str = name, rest: list[list[Atom]] = rest) -> bool:
            return any(evidence.taken_with([(name, other), *more]) for more in itertools.product(*rest))

        beyond = _beyond(value, [other for other in evidence.values(name) if taken_at(other)])
        for other in evidence.values(name):
            refused = any(evidence.left_with([(name, other), *more]) for more in itertools.product(*rest))
            if other != value and not taken_at(other) and (refused or (isinstance(other, int) and beyond(other))):
                wide[name].append(other)
    return wide


def _beyond(value: Fact, taken: Sequence[Fact]) -> Callable[[int], bool]:
    """Whether a number lies on the far side of a refused one, seen from those that are taken."""
    numbers = [other for other in taken if isinstance(other, int) and not isinstance(other, bool)]
    if not numbers or not isinstance(value, int) or isinstance(value, bool):
        return lambda other: False
    low, high = min(numbers), max(numbers)
    return lambda other: other > value > high or other < value < low


def _condition(must: Is | Not, guilty: Sequence[Result]) -> Condition:
    if not guilty:
        return Condition(must=must, effect="unmeasured")
    # The worst that happened is what a user must know first.
    effects = [result.effect for result in guilty]
    worst: Effect = next(
        effect for effect in ("wrong result", "crash", "hang", "rejected", "unmeasured") if effect in effects
    )
    says = next((result.says for result in guilty if result.effect == worst and result.says), "")
    return Condition(must=must, effect=worst, says=says, probes=quoted(guilty))
