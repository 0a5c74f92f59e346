"""`graphopt check` of many models, for what runs it unattended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree

if TYPE_CHECKING:
    from tests.cli.conftest import Answer

    Here = Callable[..., Answer]


def test_junit_has_a_suite_a_model_and_a_case_a_backend(here: Here, small: Path, custom: Path) -> None:
    answer = here("check", small.name, custom.name, "-b", "tflite,snpe", "--dim", "batch=1", "--format", "junit")
    assert answer.code == 1
    root = ElementTree.fromstring(answer.out)
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        (small.name, "2", "0"), (custom.name, "2", "2"),
    ]  # fmt: skip
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["tflite", "snpe"] * 2
    failure = cases[2].find("failure")
    assert failure is not None
    assert "of 3 nodes" in str(failure.get("message"))
    assert "Frobnicate 'odd one'" in str(failure.text)


def test_sarif_has_what_its_schema_requires(here: Here, custom: Path) -> None:
    spaced = custom.rename(custom.with_name("my model.onnx"))
    answer = here("check", spaced.name, "-b", "snpe,tflite", "--format", "sarif")
    assert answer.code == 1
    log = json.loads(answer.out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "graphopt"
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"]) == 2
    assert {result["ruleId"] for result in run["results"]} == {"unsupported/snpe", "unsupported/tflite"}
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert " " not in uri
        assert unquote(uri) == spaced.name
    assert "odd one" in {result["locations"][0]["logicalLocations"][0]["name"] for result in run["results"]}


def test_a_run_that_only_reports_ends_well(here: Here, custom: Path) -> None:
    assert here("check", custom.name, "-b", "tflite", "--fail-on", "nothing").code == 0
    assert here("check", custom.name, "-b", "tflite", "--fail-on", "unsupported").code == 1


def test_json_of_one_model_is_an_object_and_of_several_a_list(here: Here, small: Path, custom: Path) -> None:
    one = json.loads(here("check", small.name, "-b", "snpe", "--json").out)
    assert one["schema"] == "graphopt.check/1"
    both = json.loads(here("check", small.name, custom.name, "-b", "snpe", "--json").out)
    assert [answer["model"]["path"] for answer in both] == [small.name, custom.name]
