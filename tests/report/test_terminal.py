"""What a person sees in a terminal and in a log. To renew the golden files, read the diff that pytest shows first."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from graphopt.errors import UserError
from graphopt.report.model import (
    BackendCheck,
    Check,
    CheckedModel,
    Compile,
    Finding,
    Report,
    Support,
    SupportChange,
    to_json,
)
from graphopt.report.terminal import render, render_check, render_summary

GOLDEN = Path(__file__).parent / "golden"


def printed(draw: Callable[[Console], None], encoding: str = "utf-8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as stream:
        draw(Console(file=stream, width=80, force_terminal=terminal, color_system="standard" if terminal else None))
        return raw.getvalue().decode(encoding)


def check_of(report: Report) -> Check:
    assert report.support is not None
    assert report.support.after is not None
    return Check(
        model=CheckedModel(path="cls.onnx", nodes=330),
        backends={
            "tflite": BackendCheck(
                toolchain="ai-edge-litert 2.3.0", nodes=330, supported=325, segments=3,
                unsupported=report.support.after.unsupported, macs=1_000_000, supported_macs=998_000,
                crossing_bytes=48_000,
            ),
            "snpe": BackendCheck(
                toolchain="onnxruntime-qnn 2.7.0", nodes=330, supported=330, segments=1, macs=1_000_000,
                supported_macs=1_000_000, crossing_bytes=0,
            ),
        },
    )  # fmt: skip


def test_an_accepted_run_reads_like_the_golden_file(report: Report) -> None:
    files = ["out/report.json", "out/report.html"]
    assert printed(lambda console: render(report, console, files=files)) == (GOLDEN / "ok.txt").read_text()


def test_a_rejected_run_reads_like_the_golden_file(rejected: Report) -> None:
    assert printed(lambda console: render(rejected, console)) == (GOLDEN / "rejected.txt").read_text()


def test_a_check_reads_like_the_golden_file(rejected: Report) -> None:
    expected = (GOLDEN / "check.txt").read_text()
    assert printed(lambda console: render_check(check_of(rejected), console)) == expected
    assert printed(lambda console: render_check(to_json(check_of(rejected)), console)) == expected


def test_a_summary_reads_like_the_golden_file(report: Report, rejected: Report) -> None:
    neutral = replace(report, backend=None, support=None, compile=Compile())
    expected = (GOLDEN / "summary.txt").read_text()
    assert printed(lambda console: render_summary([report, rejected, neutral], console)) == expected


def test_a_mapping_that_is_no_check_is_refused() -> None:
    with pytest.raises(UserError, match="not a graphopt check"):
        render_check({"schema": "graphopt.check/1"}, Console(file=io.StringIO()))


def test_verbose_shows_quiet_passes_all_names_and_the_evidence(rejected: Report) -> None:
    short = printed(lambda console: render(rejected, console))
    long = printed(lambda console: render(rejected, console, verbose=True))
    for word in ("dedupe", "NonZero_4", "probe 17/nonzero-1"):
        assert word not in short
        assert word in long


def test_hostile_names_neither_style_nor_command_the_terminal(report: Report) -> None:
    name = "[bold red]x[/] \x1b[2J\x07"
    left = Support(nodes=1, supported=0, unsupported=(Finding(node=name, op_type="[link=a]", reason="r [/]"),))
    assert report.support is not None
    hostile = replace(report, support=SupportChange(before=left, after=left))
    for terminal in (False, True):
        text = printed(lambda console: render(hostile, console), terminal=terminal)
        assert "\x1b[2J" not in text
        assert "\x07" not in text
        assert r"[bold red]x[/] \x1b[2J\x07" in text
        assert "[link=a]" in text


def test_a_log_has_no_color_and_a_terminal_has(report: Report) -> None:
    assert "\x1b" not in printed(lambda console: render(report, console))
    assert "\x1b[" in printed(lambda console: render(report, console), terminal=True)


@pytest.mark.parametrize("terminal", [False, True])
def test_an_ascii_log_takes_everything(report: Report, rejected: Report, terminal: bool) -> None:
    odd = replace(rejected, reason="Knoten „größe“")
    text = printed(lambda console: render(odd, console), encoding="ascii", terminal=terminal)
    assert "rejected" in text
    assert "412 > 380" in text
    assert "412 > 330" in printed(lambda console: render_summary([report], console), encoding="ascii")


def test_nothing_is_wider_than_80_columns_however_long_the_names(report: Report, rejected: Report) -> None:
    long = "backbone/stage3/block_11/" * 8
    assert rejected.support is not None
    assert rejected.support.after is not None
    findings = tuple(replace(found, node=long, reason=long) for found in rejected.support.after.unsupported)
    after = replace(rejected.support.after, unsupported=findings)
    wide = replace(
        rejected,
        input=replace(rejected.input, path=f"/models/{long}.onnx"),
        passes=tuple(replace(record, name=long[:60]) for record in report.passes),
        support=replace(rejected.support, after=after),
    )
    drawn = [
        printed(lambda console: render(wide, console, verbose=True)),
        printed(lambda console: render_check(check_of(wide), console)),
        printed(lambda console: render_summary([wide, report], console)),
    ]
    assert max(len(line) for text in drawn for line in text.splitlines()) <= 80
