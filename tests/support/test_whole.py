"""What a toolchain takes of a model as a whole, from probes of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from graphopt.pipeline import make_backend
from graphopt.support.harness import sweep
from graphopt.support.result import Result
from graphopt.support.whole import IR_VERSIONS, OPSETS, reads, whole_probes

PROBES = list(whole_probes())


def answers(refused: Collection[str]) -> list[Result]:
    return [
        Result(probe.id, "Relu", "", 1, True, {}, effect="rejected" if probe.id in refused else None, says="too new")
        for probe in PROBES
    ]


def named(*words: str) -> list[str]:
    return [probe.id for probe in PROBES if any(word in probe.id for word in words)]


def test_every_version_and_every_way_is_asked() -> None:
    assert len(named("opset=")) == len(OPSETS)
    assert len(named("ir_version=")) == len(IR_VERSIONS)
    assert len(named("given")) == len(named("from constants")) == len(named("from a shape")) == 6


def test_a_toolchain_that_reads_everything_has_no_limits() -> None:
    found = reads(answers(()))
    assert (found.opset, found.ir_version, found.foresight, found.probes) == (None, None, "constants", ())


def test_the_newest_version_that_is_read_is_the_limit() -> None:
    found = reads(answers(["model/opset=27", "model/opset=28", "model/ir_version=14"]))
    assert (found.opset, found.ir_version, found.says) == ((7, 26), (3, 13), "too new")
    assert found.probes == ("model/opset=27", "model/opset=28", "model/ir_version=14")


@pytest.mark.parametrize(
    ("refused", "foresight"),
    [
        (named("ReduceSum from"), "sizes"),
        (named("ReduceSum from", "Split from a shape"), "none"),
        (named("TopK"), "constants"),  # taken in no way, it tells nothing
    ],
)
def test_foresight_is_what_no_operator_contradicts(refused: list[str], foresight: str) -> None:
    assert reads(answers(refused)).foresight == foresight


@pytest.mark.parametrize("name", ["tflite", "tensorrt"])
def test_the_committed_table_says_what_the_toolchain_answers(name: str, tmp_path: Path) -> None:
    backend = make_backend(name)
    toolchain = backend.toolchain()
    if toolchain is None or toolchain != backend.table().toolchain:
        pytest.skip(f"the toolchain that the table of {name} was measured from is not installed")
    found = reads(sweep(PROBES, backend.prober, tmp_path / "journal.jsonl", toolchain=toolchain))
    assert found == backend.table().reads
