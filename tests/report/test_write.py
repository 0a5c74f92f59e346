"""Files are whole or as they were."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from graphopt.errors import UserError
from graphopt.report.model import Report, from_json
from graphopt.report.write import write


def test_both_files_are_written_into_a_new_folder(report: Report, tmp_path: Path) -> None:
    data, page = write(report, tmp_path / "out" / "tflite")
    assert sorted(p.name for p in data.parent.iterdir()) == ["report.html", "report.json"]
    assert from_json(json.loads(data.read_text())) == report
    assert page.read_text().startswith("<!doctype html>")


def test_a_second_run_replaces_the_first(report: Report, rejected: Report, tmp_path: Path) -> None:
    write(report, tmp_path)
    data, _ = write(rejected, tmp_path)
    assert json.loads(data.read_text())["status"] == "rejected"


def test_a_disk_that_is_full_midway_leaves_the_old_files_and_no_litter(report: Report, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in write(report, tmp_path)}
    bigger = replace(report, recipe="# more\n" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a longer file ends in EFBIG, partly written
    try:
        with pytest.raises(UserError, match="cannot write the report"):
            write(bigger, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_report_that_cannot_be_written_as_json_leaves_the_old_files(report: Report, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in write(report, tmp_path)}
    with pytest.raises(TypeError, match="cannot hold a bytes"):
        write(replace(report, compile=replace(report.compile, detail={"blob": b""})), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_a_file_is_the_users_error(report: Report, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="choose another folder"):
        write(report, tmp_path / "out")
