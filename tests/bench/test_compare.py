"""What may be concluded from rounds: a difference where it is larger than the noise, and nothing where it is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.bench import compare

Rounds = list[list[float]]


def rounds(seconds: float, noise: float, seed: int, processes: int = 3, drift: float = 0.0) -> Rounds:
    """Seconds of 12 turns in each process, with noise of a relative size, and a drift that hits all models alike."""
    rng = np.random.default_rng(seed)
    slower = 1 + drift * np.arange(12)
    return [list(seconds * slower * np.exp(noise * rng.standard_normal(12))) for _ in range(processes)]


def test_twice_as_fast_is_faster() -> None:
    found = compare(rounds(2.0, 0.05, 1), rounds(1.0, 0.05, 2))
    assert found.verdict == "faster"
    assert found.ratio is not None
    assert abs(found.ratio - 0.5) < 0.05
    assert "2.0" in found.reason or "1.9" in found.reason


def test_slower_is_slower() -> None:
    assert compare(rounds(1.0, 0.02, 1), rounds(1.3, 0.02, 2)).verdict == "slower"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_runs_of_one_model_are_hardly_ever_told_apart(seed: int) -> None:
    # All three processes would have to err on the same side: 0.025³ for each.
    assert compare(rounds(1.0, 0.2, 2 * seed), rounds(1.0, 0.2, 2 * seed + 1)).verdict == "undecided"


def test_noise_larger_than_the_difference_is_no_conclusion() -> None:
    found = compare(rounds(1.0, 0.5, 1), rounds(0.95, 0.5, 2))
    assert found.verdict == "undecided"
    assert "noise" in found.reason


def test_a_machine_that_slows_down_hits_all_alike() -> None:
    found = compare(rounds(1.0, 0.01, 1, drift=0.3), rounds(0.8, 0.01, 2, drift=0.3))
    assert found.verdict == "faster"
    assert found.ratio is not None
    assert abs(found.ratio - 0.8) < 0.02


def test_processes_that_disagree_are_no_conclusion() -> None:
    first = rounds(1.0, 0.01, 1)
    other = [*rounds(0.8, 0.01, 2, processes=2), *rounds(1.1, 0.01, 3, processes=1)]
    assert compare(first, other).verdict == "undecided"


def test_a_difference_below_the_resolution_is_none() -> None:
    found = compare(rounds(1.0, 0.0001, 1), rounds(0.995, 0.0001, 2))
    assert found.verdict == "undecided"
    assert "no difference beyond" in found.reason
