"""Random probes are valid, repeatable, combine several changes, and exist for every operator that a sweep knows."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt.support.forms import FORMS
from graphopt.support.generate import generate, is_random, one
from graphopt.support.probe import Probe, probes, reference
from graphopt.support.sweeps import operators

SOME = ("Conv", "Resize", "Slice", "MatMul", "ReduceMean", "Where", "Pad", "Split", "LayerNormalization")


@pytest.fixture(scope="module")
def some() -> list[Probe]:
    return [probe for op_type in SOME for probe in generate(op_type, 30, "test")]


def test_every_operator_of_the_sweeps_can_be_drawn() -> None:
    silent = [name for name in operators() if not list(generate(name, 2, "test"))]
    assert silent == []


def test_forms_are_of_operators_that_a_sweep_knows() -> None:
    assert FORMS.keys() <= set(operators())


def test_the_same_seed_gives_the_same_probes_and_another_seed_others(some: list[Probe]) -> None:
    again = [probe for op_type in SOME for probe in generate(op_type, 30, "test")]
    assert [(probe.id, probe.digest) for probe in again] == [(probe.id, probe.digest) for probe in some]
    other = {probe.digest for op_type in SOME for probe in generate(op_type, 30, "other")}
    assert len(other & {probe.digest for probe in some}) < len(some) / 20


def test_ids_are_unique_and_apart_from_those_of_the_sweeps(some: list[Probe]) -> None:
    ids = {probe.id for probe in some}
    assert len(ids) == len(some)
    assert all(is_random(name) for name in ids)
    assert not any(is_random(probe.id) for probe in probes(SOME))


def test_no_probe_asks_twice(some: list[Probe]) -> None:
    assert len({probe.digest for probe in some}) == len(some)


def test_several_things_change_at_once(some: list[Probe]) -> None:
    """The probes of an operator differ from its plainest form in more than one fact, many of them."""
    for op_type in SOME:
        here = [probe.facts for probe in some if probe.op_type == op_type]
        usual = {name: max({f.get(name) for f in here}, key=[f.get(name) for f in here].count) for name in here[0]}
        changes = [sum(facts.get(name) != value for name, value in usual.items()) for facts in here]
        assert sum(change >= 2 for change in changes) > len(here) / 3, op_type


def test_drawn_probes_cover_dtypes_ranks_versions_and_quantization(some: list[Probe]) -> None:
    assert len({probe.facts.get("input.0.dtype") for probe in some}) > 4
    assert {probe.facts.get("input.0.rank") for probe in some} >= {1, 2, 3, 4, 5}
    assert len({probe.since for probe in some if probe.op_type == "Split"}) > 1
    assert {probe.facts.get("qdq.activation") for probe in some} > {"none"}
    assert len({probe.facts["shapes"] for probe in some}) > 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SOME), st.randoms(use_true_random=False))
def test_whatever_is_drawn_is_a_valid_model_whose_answer_is_right(op_type: str, rng: random.Random) -> None:
    probe = one(op_type, rng, "random:hypothesis")
    if probe is None:
        return
    proto = onnx.load_from_string(probe.model)
    onnx.checker.check_model(proto, full_check=True)
    answers = reference(proto, probe.inputs)
    assert answers is not None
    for name, array in probe.expected.items():
        np.testing.assert_array_equal(array, answers[name])
