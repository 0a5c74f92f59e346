"""Probes are valid, repeatable questions whose answers an oracle knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.support.case import versions
from graphopt.support.probe import Probe, probes
from graphopt.support.suite import suite
from graphopt.support.sweeps import cases, operators

SOME = ["Conv", "Clip", "Squeeze", "Resize", "ReduceMean", "Cast"]


@pytest.fixture(scope="module")
def some() -> list[Probe]:
    return list(probes(SOME))


def test_every_operator_of_the_sweeps_has_probes_with_unique_ids() -> None:
    found = list(probes())
    assert {probe.op_type for probe in found} == set(operators())
    assert len({probe.id for probe in found}) == len(found)


def test_probes_are_valid_and_the_same_each_time(some: list[Probe]) -> None:
    for probe in some:
        onnx.checker.check_model(onnx.load_from_string(probe.model), full_check=True)
    assert [probe.digest for probe in some] == [probe.digest for probe in probes(SOME)]


def test_parameters_follow_the_operators_version(some: list[Probe]) -> None:
    by_id = {probe.id: probe for probe in some}
    old, new = by_id["Clip-6/base"], by_id["Clip-13/base"]
    assert len(onnx.load_from_string(old.model).graph.node[0].attribute) == 2
    assert new.facts["input.1.constant"] is True
    np.testing.assert_allclose(next(iter(old.expected.values())).max(), 0.8, rtol=1e-6)


def test_core_cases_are_asked_at_every_version(some: list[Probe]) -> None:
    for op_type in ("Conv", "Cast"):
        assert {probe.since for probe in some if probe.op_type == op_type} == set(versions(op_type))


def test_quantized_probes_differ_from_the_float_answer_by_no_more_than_their_steps(some: list[Probe]) -> None:
    by_id = {probe.id: probe for probe in some}
    for name in ("qdq=uint8:int8", "qdq=uint8:int8:channel"):
        probe = by_id[f"Conv-11/{name}"]
        assert probe.facts["qdq.activation"] == "uint8"
        assert probe.facts["qdq.weight"] == "int8"
        assert probe.facts["qdq.per_channel"] is name.endswith("channel")
        assert len(np.unique(next(iter(probe.expected.values())))) <= 256


def test_files_of_a_probe_hold_it_whole(some: list[Probe], tmp_path: Path) -> None:
    probe = some[0]
    files = probe.write(tmp_path / "p")
    assert Path(files["model"]).read_bytes() == probe.model
    with np.load(files["expected"]) as stored:
        assert all(np.array_equal(stored[name], array) for name, array in probe.expected.items())
    assert files.keys() == {"model", "inputs", "expected"}


def test_labels_of_an_operator_do_not_repeat_what_is_asked() -> None:
    labels = [case.label for op_type in operators() for case in cases(op_type)]
    assert all(label and "/" not in label for label in labels)


def test_the_operator_tests_bring_their_own_answers() -> None:
    found = {probe.id: probe for probe in suite({"AveragePool", "Add"})}
    probe = found["Add-14/suite:add"]
    # the second operand has become a constant, as an exporter writes it
    assert probe.facts["input.1.constant"] is True
    assert len(probe.inputs) == 1
    assert any("same_upper" in name for name in found)
