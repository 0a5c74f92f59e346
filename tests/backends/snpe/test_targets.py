"""Which words name which chip."""

from __future__ import annotations

import pytest

from graphopt.errors import UserError
from graphopt_backends.snpe.backend import SnpeBackend
from graphopt_backends.snpe.targets import DEFAULT, SOCS, resolve


def test_an_id_a_chip_and_an_architecture_name_the_same_chip() -> None:
    assert resolve("soc57") == resolve("SM8650") == resolve("v75") == DEFAULT


def test_every_word_that_the_backend_offers_names_a_listed_chip() -> None:
    assert {resolve(word) for word in SnpeBackend.targets} == set(SOCS)


def test_an_architecture_stands_for_a_chip_of_that_architecture() -> None:
    for arch in {soc.arch for soc in SOCS}:
        assert resolve(f"v{arch}").arch == arch


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="v75"):
        resolve("soc9999")
