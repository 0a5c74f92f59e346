"""The harness survives what vendors do, and what users do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from graphopt.support.harness import ProberError, read, sweep
from graphopt.support.infer import Result, rows
from graphopt.support.probe import Probe, probes

TOOL = "toy 1.0"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def relu() -> list[Probe]:
    """One probe a rank, of Relu."""
    wanted = [f"/rank={rank}" for rank in range(1, 7)]
    return [probe for probe in probes(["Relu"]) if any(probe.id.endswith(end) for end in wanted)]


def effects(results: list[Result]) -> dict[int, str | None]:
    return {int(str(result.facts["input.0.rank"])): result.effect for result in results}


MOODY = {1: "crash", 2: "hang", 3: "rejected", 4: None, 5: "wrong result", 6: "rejected"}


def test_a_crash_and_a_hang_are_answers_and_the_batch_goes_on(relu: list[Probe], tmp_path: Path) -> None:
    results = sweep(relu, "probers:moody", tmp_path / "journal", toolchain=TOOL, limit=1.0)
    assert effects(results) == MOODY
    said = {result.effect: result.says for result in results}
    assert "SIGSEGV" in said["crash"]
    assert "4 s" in said["hang"]
    words = [result.says for result in results if result.effect == "rejected"]
    assert words == ["RuntimeError: no three", "too many axes"]


def test_an_interrupted_sweep_resumes_to_the_same_table(
    relu: list[Probe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHOPT_TEST_FOLDER", str(tmp_path))
    monkeypatch.setenv("GRAPHOPT_TEST_PARENT", str(os.getpid()))
    ordered = [probe for probe in relu if probe.facts["input.0.rank"] != 2]
    whole = sweep(ordered, "probers:moody", tmp_path / "whole", toolchain=TOOL, limit=5.0)
    journal = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        sweep(ordered, "probers:interrupted", journal, toolchain=TOOL, limit=20.0)
    kept = read(journal, TOOL)
    assert 0 < len(kept) < len(ordered)
    resumed = sweep(ordered, "probers:interrupted", journal, toolchain=TOOL, limit=20.0)
    assert rows(resumed) == rows(whole)
    # what had been answered before the interrupt was not asked again: 5 probes, the one that was cut off, and the one
    # that crashes once more
    assert len(list(tmp_path.glob("asked-*"))) == len(ordered) + 2


def test_a_line_cut_off_in_the_middle_is_asked_again(relu: list[Probe], tmp_path: Path) -> None:
    four = [probe for probe in relu if probe.facts["input.0.rank"] in (4, 5)]
    journal = tmp_path / "journal"
    first = sweep(four, "probers:moody", journal, toolchain=TOOL)
    journal.write_bytes(journal.read_bytes()[:-20])
    assert len(read(journal, TOOL)) == 1
    assert sweep(four, "probers:moody", journal, toolchain=TOOL) == first
    assert len(read(journal, TOOL)) == 2


def test_answers_of_another_toolchain_or_of_a_changed_probe_do_not_count(relu: list[Probe], tmp_path: Path) -> None:
    four = [probe for probe in relu if probe.facts["input.0.rank"] == 4]
    journal = tmp_path / "journal"
    sweep(four, "probers:moody", journal, toolchain=TOOL)
    sweep(four, "probers:moody", journal, toolchain="toy 2.0")
    assert len(journal.read_text().splitlines()) == 2
    changed = [replace(four[0], inputs={name: array + 1 for name, array in four[0].inputs.items()})]
    sweep(changed, "probers:moody", journal, toolchain=TOOL)
    assert len(journal.read_text().splitlines()) == 3
    sweep(changed, "probers:moody", journal, toolchain=TOOL)
    assert len(journal.read_text().splitlines()) == 3


def test_several_jobs_give_the_same_answers(relu: list[Probe], tmp_path: Path) -> None:
    quick = [probe for probe in relu if probe.facts["input.0.rank"] != 2]
    seen: list[tuple[int, int]] = []
    results = sweep(
        quick, "probers:moody", tmp_path / "journal", toolchain=TOOL, jobs=2, batch=2,
        progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert effects(results) == {rank: effect for rank, effect in MOODY.items() if rank != 2}
    assert seen[-1] == (5, 5)


def test_a_prober_that_cannot_be_imported_is_no_answer(relu: list[Probe], tmp_path: Path) -> None:
    with pytest.raises(ProberError, match="nowhere"):
        sweep(relu, "nowhere:verdict", tmp_path / "journal", toolchain=TOOL)
    assert not (tmp_path / "journal").exists()


def test_a_real_toolchain_becomes_rows(tmp_path: Path) -> None:
    asked = list(probes(["Gelu", "HardSwish"]))
    results = sweep(asked, "probers:onnxruntime_cpu", tmp_path / "journal", toolchain=TOOL)
    found = {row.op_type: row for row in rows(results) if row.status != "folded"}
    assert {name: row.status for name, row in found.items()} == {"Gelu": "native", "HardSwish": "native"}
    dtypes = next(c for c in found["Gelu"].require if "dtype" in c.must.sentence())
    assert dtypes.must.holds({"input.0.dtype": "float32"}) is True
    assert dtypes.must.holds({"input.0.dtype": "bfloat16"}) is False


def test_a_slow_answer_is_no_hang(relu: list[Probe], tmp_path: Path) -> None:
    one = [probe for probe in relu if probe.facts["input.0.rank"] == 4]
    results = sweep(one, "probers:slow", tmp_path / "journal", toolchain=TOOL, limit=1.0)
    assert [result.effect for result in results] == [None]


def test_answers_of_a_prober_that_has_changed_do_not_count(
    relu: list[Probe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "vendor"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "probe.py").write_text("from vendor.lowering import TAKEN\ndef verdict(**files): return TAKEN\n")
    lowering = package / "lowering.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    one = [probe for probe in relu if probe.facts["input.0.rank"] == 4]
    for compiled, effect in ((False, "rejected"), (True, None)):
        lowering.write_text(f"TAKEN = {{'compiled': {compiled}, 'claimed': True}}\n")
        results = sweep(one, "vendor.probe:verdict", tmp_path / "journal", toolchain=TOOL)
        assert [result.effect for result in results] == [effect]
