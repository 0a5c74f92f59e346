"""Numbers in words, and the answers that head every rendering."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.report import words
from graphopt.report.model import Compile, Execution, Finding, Report, Speed, SupportChange


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (18_632_101, "18.6 MB"), (5_123_456_789, "5.12 GB")]
)
def test_sizes_are_decimal_with_three_digits(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (1e-5, "<1 ms"), (0.08, "80 ms"), (1.94, "1.9 s"), (125, "2 min 05 s")]
)
def test_durations_use_the_unit_that_fits(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(412, 118, "−71 %"), (10, 10, "unchanged"), (0, 5, ""), (100, 104.2, "+4.2 %"), (100_000, 99_999, "−<0.1 %")],
)
def test_changes_are_signed_percentages(before: float, after: float, text: str) -> None:
    assert words.change(before, after) == text


@given(st.text())
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    assert words.printable(text).isprintable()


def test_findings_of_one_cause_stand_together_most_frequent_first() -> None:
    def finding(node: str, op_type: str) -> Finding:
        return Finding(node=node, op_type=op_type, reason="r")

    groups = words.group([finding("a", "If"), finding("b", "Loop"), finding("c", "Loop")])
    assert [(g.op_type, g.nodes) for g in groups] == [("Loop", ("b", "c")), ("If", ("a",))]


def answer(report: Report, topic: str) -> words.Answer:
    return next(line for line in words.answers(report) if line.topic == topic)


def test_wholly_on_target_says_whether_it_was_compiled_or_read_from_the_table(report: Report) -> None:
    assert answer(report, "on target").text.startswith("yes: all 330 nodes, compiled")
    uncompiled = answer(replace(report, compile=Compile()), "on target")
    assert uncompiled.text.startswith("yes: all 330 nodes, by the support table, not compiled")


def test_what_the_compiler_refused_is_not_on_target_whatever_the_table_says(report: Report) -> None:
    refused = replace(report, compile=Compile(status="failed", toolchain="ai-edge-litert 2.3.0"))
    assert answer(refused, "on target").text.startswith("no: the compiler refused")
    assert answer(refused, "on target").tone == "bad"


def test_a_fallback_of_the_compiler_means_only_partly_on_target(report: Report) -> None:
    fallback = Finding(node="Resize_0", op_type="Resize", reason="falls back to the CPU")
    partly = replace(report, compile=replace(report.compile, issues=(fallback,)))
    assert answer(partly, "on target").text == "in part: the compiler named 1 issue"


def test_speed_is_claimed_only_where_it_was_measured(report: Report) -> None:
    assert answer(report, "faster").text == "not timed; 412 → 330 nodes (−20 %)"
    slower = replace(report, speed=Speed(original_ms=4.0, optimized_ms=5.0, runtime="LiteRT CPU"))
    assert answer(slower, "faster") == words.Answer("faster", "0.80× on LiteRT CPU: 4 → 5 ms", "bad")


def test_a_runtime_that_is_not_here_is_neither_good_nor_bad_news(report: Report) -> None:
    away = replace(report, compile=replace(report.compile, execution=Execution(reason="needs an NVIDIA GPU")))
    assert answer(away, "executed") == words.Answer("executed", "not here: needs an NVIDIA GPU", "plain")


def test_a_run_without_a_backend_says_nothing_about_targets(report: Report) -> None:
    neutral = replace(report, backend=None, support=None, compile=Compile())
    assert [line.topic for line in words.answers(neutral)] == ["smaller", "faster", "agrees"]


def test_a_run_that_broke_off_still_has_its_answers(report: Report) -> None:
    assert report.support is not None
    broken = replace(
        report, status="failed", output=None, support=SupportChange(before=report.support.before), compile=Compile()
    )
    assert answer(broken, "on target").text == "unknown; 410 of 412 nodes of the original"
