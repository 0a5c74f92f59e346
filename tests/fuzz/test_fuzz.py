"""The first seeds of the fuzzer, always the same: `make fuzz N=5000` explores others."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest

from graphopt.fuzz.campaign import Tally, table
from graphopt.fuzz.draw import draw
from graphopt.fuzz.work import work

SEEDS, CHUNKS = 144, 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_models_come_out_of_random_recipes_as_they_went_in(chunk: int) -> None:
    tally = Tally()
    for seed in range(chunk, SEEDS, CHUNKS):
        tally.add(work(seed))
    assert not tally.failures, table(tally)
    assert tally.undrawn <= 1
    assert len(tally.operators) > 40


def test_a_seed_draws_the_same_model_again() -> None:
    once, twice = draw(7), draw(7)
    assert once.proto.SerializeToString(deterministic=True) == twice.proto.SerializeToString(deterministic=True)


def test_drawn_models_have_bodies_functions_and_open_shapes() -> None:
    seen = Counter[str]()
    for seed in range(40):
        proto = draw(seed).proto
        onnx.checker.check_model(proto)
        seen.update(node.op_type for node in proto.graph.node)
        seen["function"] += bool(proto.functions)
        seen["open"] += any(dim.dim_param for value in proto.graph.input for dim in value.type.tensor_type.shape.dim)
    assert all(seen[kind] for kind in ("If", "Loop", "Scan", "function", "open")), seen
