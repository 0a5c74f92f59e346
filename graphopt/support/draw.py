"""Random shapes, axes and choices, weighted as models have them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Draw:
    """Draws shapes and choices from one source of random numbers."""

    rng: random.Random

    def one(self, *options: Any) -> Any:
        """One of the options; what is likelier is listed more than once."""
        return self.rng.choice(options)

    def chance(self, share: float) -> bool:
        """True in that share of all draws."""
        return self.rng.random() < share

    def size(self) -> int:
        """A size from 1 to 9, seldom 1."""
        return 1 if self.chance(0.08) else self.rng.randint(2, 9)

    def rank(self, least: int = 1, most: int = 6) -> int:
        """A rank as models have them: mostly 4, 3 and 2."""
        return int(self.one(*(rank for rank in (0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 6) if least <= rank <= most)))

    def shape(self, rank: int | None = None) -> Shape:
        """A shape with a first axis that is often 1, and no more than some thousand elements."""
        rank = self.rank() if rank is None else rank
        cap = 9 if rank < 5 else 4
        sizes = [min(self.size(), cap) for _ in range(rank)]
        if rank > 2 and self.chance(0.6):
            sizes[0] = 1
        return tuple(sizes)

    def fewer(self, shape: Shape) -> Shape:
        """A shape that broadcasts to `shape`: a scalar, a channel, its tail, or some sizes 1."""
        rank = len(shape)
        kind = self.one("same", "same", "scalar", "one", "channel", "tail", "ones")
        if kind == "same" or not rank:
            return shape
        if kind in ("scalar", "one"):
            return () if kind == "scalar" else (1,)
        if kind == "channel" and rank > 1:
            return tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))[self.one(0, 1) :]
        if kind == "tail":
            return shape[self.rng.randrange(rank) :]
        return tuple(self.one(size, 1) for size in shape)

    def axis(self, rank: int) -> int:
        """An axis, counted from either end."""
        axis = self.rng.randrange(rank) if self.chance(0.6) else rank - 1
        return axis - rank if self.chance(0.5) else axis

    def axes(self, rank: int) -> list[int]:
        """Some axes, ascending."""
        if rank > 2 and self.chance(0.4):
            return list(range(2, rank))
        return sorted(self.rng.sample(range(rank), self.rng.randint(1, rank)))

    def split(self, total: int, parts: int) -> list[int]:
        """Positive sizes that add up."""
        cuts = sorted(self.rng.sample(range(1, total), parts - 1))
        return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]

    def factors(self, total: int, rank: int) -> list[int]:
        """A shape of that rank with that many elements."""
        sizes = [1] * rank
        for prime in _primes(total):
            sizes[self.rng.randrange(rank)] *= prime
        return sizes


def _primes(total: int) -> list[int]:
    found, divisor = [], 2
    while total > 1:
        while total % divisor == 0:
            found.append(divisor)
            total //= divisor
        divisor += 1
    return found
