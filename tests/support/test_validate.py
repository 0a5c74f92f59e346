"""A table is held against its vendor: a right one scores fully, and each kind of mistake in one shows in its score."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from graphopt.errors import UserError
from graphopt.pipeline import make_backend
from graphopt.support.generate import generate
from graphopt.support.measure import measure
from graphopt.support.predicate import Is
from graphopt.support.probe import Probe
from graphopt.support.result import Result
from graphopt.support.table import Condition, Effect, Row, Table
from graphopt.support.validate import judge, scores, validate


def table(*rows: Row, toolchain: str = "toy 1.0") -> Table:
    return Table(backend="toy", toolchain=toolchain, date="2026-01-02", rows=rows)


def row(op_type: str, **more: object) -> Row:
    return Row.model_validate({"op_type": op_type, "since": (1, 30), "status": "native", **more})


def answered(probe: Probe, effect: Effect | None) -> Result:
    return Result(
        probe.id, probe.op_type, "", probe.since, False, probe.facts, effect=effect, says="no" if effect else ""
    )


@pytest.fixture(scope="module")
def asked() -> list[Probe]:
    return [probe for probe in generate("Abs", 40, "test") if len(onnx.load_from_string(probe.model).graph.node) == 1]


def rank_four(probe: Probe) -> bool:
    return probe.facts["input.0.rank"] == 4


FOUR = Condition(must=Is.model_validate({"fact": "input.0.rank", "in": [4]}))


def test_a_table_that_says_what_the_vendor_does_scores_fully(asked: list[Probe]) -> None:
    results = [answered(probe, None if rank_four(probe) else "rejected") for probe in asked]
    (score,) = scores(judge(asked, results, table(row("Abs", require=[FOUR]))))
    assert (score.operator, score.probes, score.agree) == ("Abs", len(asked), len(asked))
    assert (score.agreement, score.precision, score.recall) == (1, 1, 1)
    assert score.disagreements == ()


def test_a_promise_that_the_vendor_breaks_costs_precision(asked: list[Probe]) -> None:
    results = [answered(probe, None if rank_four(probe) else "wrong result") for probe in asked]
    (score,) = scores(judge(asked, results, table(row("Abs"))))
    four = sum(map(rank_four, asked))
    assert (score.recall, score.precision, score.agreement) == (1, four / len(asked), four / len(asked))
    first = score.disagreements[0]
    assert (first.vendor, first.says, first.table) == ("wrong result", "no", "supported")


def test_a_promise_that_is_missing_costs_recall(asked: list[Probe]) -> None:
    results = [answered(probe, None) for probe in asked]
    (score,) = scores(judge(asked, results, table(row("Abs", require=[FOUR]))))
    assert (score.precision, score.recall) == (1, sum(map(rank_four, asked)) / len(asked))
    assert score.disagreements[0].vendor == "taken"
    assert "rank" in score.disagreements[0].table


def test_an_operator_that_the_table_lacks_is_not_supported(asked: list[Probe]) -> None:
    (score,) = scores(judge(asked, [answered(probe, "crash") for probe in asked], table()))
    assert (score.agreement, score.supported, score.taken) == (1, 0, 0)


def test_probes_without_an_answer_are_not_judged(asked: list[Probe]) -> None:
    assert len(judge(asked, [answered(asked[0], None)], table(row("Abs")))) == 1


@pytest.mark.vendor
def test_a_table_just_measured_agrees_with_its_vendor_and_the_report_is_the_same_again(tmp_path: Path) -> None:
    backend = make_backend("tflite")
    made = measure(backend, tmp_path, ops=["Neg", "QuantizeLinear", "DequantizeLinear"], rounds=1)
    report = validate(backend, tmp_path, count=10, ops=["Neg"], table=made)
    assert report.total.agreement > 0.85
    again = validate(backend, tmp_path, count=10, ops=["Neg"], table=made)
    assert again.text() == report.text()
    report.dump(tmp_path / "validation.json")
    read = json.loads((tmp_path / "validation.json").read_text())
    assert read["schema"] == "graphopt.validation/1"
    assert read["total"]["probes"] == read["operators"][0]["probes"] == report.total.probes >= 8
    assert {"precision", "recall", "agreement"} <= read["operators"][0].keys()


@pytest.mark.vendor
def test_what_cannot_be_validated_is_said_clearly(tmp_path: Path) -> None:
    backend = make_backend("tflite")
    with pytest.raises(UserError, match=r"the table is of toy 1\.0"):
        validate(backend, tmp_path, table=table())
    with pytest.raises(UserError, match="no sweep knows Frobnicate"):
        validate(backend, tmp_path, ops=["Frobnicate"], table=table(toolchain=backend.toolchain() or ""))
