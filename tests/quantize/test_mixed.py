"""The choice is the best there is under the budget, the same in every run, and a budget that cannot be kept is said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.errors import UserError
from graphopt.quantize.mixed import Budget, Choice, choose, sqnr_db

_choice = st.builds(
    Choice, st.sampled_from(["w4", "w8", "float"]), st.floats(1e-6, 1), st.integers(1, 1000), st.integers(0, 50)
)
_layers = st.lists(st.lists(_choice, min_size=1, max_size=3), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(_layers, st.floats(0, 1))
def test_no_other_choice_within_the_size_has_less_noise(given_: list[list[Choice]], share: float) -> None:
    layers = {f"l{number}": choices for number, choices in enumerate(given_)}
    least = sum(min(c.size for c in choices) for choices in given_)
    most = sum(max(c.size for c in choices) for choices in given_)
    limit = least + share * (most - least)
    found = choose(layers, Budget(size=limit))
    assert found == choose(layers, Budget(size=limit))
    assert sum(choice.size for choice in found.values()) <= limit * (1 + 1e-9)
    all_ = [combo for combo in itertools.product(*given_) if sum(c.size for c in combo) <= limit]
    best = min(sum(c.noise for c in combo) for combo in all_)
    assert sum(choice.noise for choice in found.values()) <= best * (1 + 1e-5) + 1e-6


def test_an_sqnr_alone_asks_for_the_smallest_model_that_reaches_it() -> None:
    layers = {name: [Choice("w4", 1e-2, 1), Choice("w8", 1e-4, 2), Choice("float", 0, 8)] for name in "abc"}
    found = choose(layers, Budget(min_sqnr=19))
    assert sorted(choice.name for choice in found.values()) == ["w4", "w8", "w8"]
    assert sqnr_db(found) >= 19
    assert {choice.name for choice in choose(layers, Budget(min_sqnr=200)).values()} == {"float"}


def test_latency_and_size_hold_together() -> None:
    layers = {name: [Choice("w8", 1e-3, 1, 5), Choice("float", 0, 4, 2)] for name in "abcd"}
    found = choose(layers, Budget(size=10, latency=16))
    assert sum(choice.size for choice in found.values()) <= 10
    assert sum(choice.latency for choice in found.values()) <= 16


def test_a_budget_that_cannot_be_kept_is_said_with_what_can() -> None:
    layers = {"a": [Choice("w8", 1e-3, 10)], "b": [Choice("w8", 1e-3, 10)]}
    with pytest.raises(UserError, match="at least 20"):
        choose(layers, Budget(size=15))
    with pytest.raises(UserError, match=r"at most 27\.0 dB"):
        choose(layers, Budget(min_sqnr=40))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("size=4MB", Budget(size=4e6)),
        ("min-sqnr=30", Budget(min_sqnr=30)),
        ("size=512KiB,latency=60%", Budget(size=512 * 1024, latency=0.6)),
        ("latency=0.5 min_sqnr=20dB", Budget(latency=0.5, min_sqnr=20)),
    ],
)
def test_a_budget_is_read(text: str, wanted: Budget) -> None:
    assert Budget.parse(text) == wanted


@pytest.mark.parametrize("text", ["", "size", "size=-3", "speed=3", "size=4dB", "latency=fast", "size=4 MB x"])
def test_a_budget_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="write size=4MB"):
        Budget.parse(text)


def test_a_layer_that_overflows_is_never_chosen_so() -> None:
    layers = {"a": [Choice("w4", float("inf"), 1), Choice("w8", 0.1, 2)]}
    assert choose(layers, Budget(size=2))["a"].name == "w8"
    assert np.isfinite(sqnr_db(choose(layers, Budget(size=2))))
