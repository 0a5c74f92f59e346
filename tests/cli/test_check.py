"""What `graphopt check` and `graphopt backends` say of toolchains, measured and documented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from graphopt.report.words import across_operators
from graphopt.report.words import group as grouped
from graphopt.support.check import Finding
from graphopt.support.predicate import Is

if TYPE_CHECKING:
    from tests.cli.conftest import Answer

    Here = Callable[..., Answer]


def test_a_documented_verdict_says_that_nothing_was_measured(here: Here, small: Path) -> None:
    answer = here("check", small.name, "-b", "tensorrt", "--toolchain", "10.1")
    assert "not measured: https://github.com/onnx/onnx-tensorrt/" in answer.out.replace("\n", " ")
    data = json.loads(here("check", small.name, "-b", "tensorrt", "--toolchain", "10.1", "--json").out)
    assert data["backends"]["tensorrt"]["documented"].startswith("https://")


def test_a_measured_verdict_names_no_documentation(here: Here, small: Path) -> None:
    data = json.loads(here("check", small.name, "-b", "tensorrt", "--json").out)
    assert "documented" not in data["backends"]["tensorrt"]


@pytest.mark.parametrize("name", ["gpu-delegate", "NNAPI", "hexagon", "edgetpu"])
def test_delegates_are_chosen_by_their_names(here: Here, small: Path, name: str) -> None:
    answer = here("check", small.name, "-b", "tflite", "--toolchain", name, "--dim", "batch=1", "--json")
    assert json.loads(answer.out)["backends"]["tflite"]["toolchain"].lower().startswith(name.lower())


def test_a_word_that_several_toolchains_share_is_no_choice(here: Here, small: Path) -> None:
    answer = here("check", small.name, "-b", "snpe", "--toolchain", "(documentation)")
    assert answer.code == 2
    assert "several tables of snpe" in answer.err
    assert "snpe-gpu" in answer.err


def test_the_free_dimensions_are_named_in_the_remedy(here: Here, small: Path) -> None:
    answer = here("check", small.name, "-b", "snpe")
    assert answer.code == 1
    assert "--dim batch=SIZE" in answer.out


def test_show_lists_every_table_with_its_evidence(here: Here) -> None:
    data = json.loads(here("backends", "show", "snpe", "--json").out)
    assert {table["evidence"] for table in data["other_tables"]} == {"documented"}
    assert {table["toolchain"].split()[0] for table in data["other_tables"]} == {
        "snpe-cpu", "snpe-gpu", "snpe-aip", "snpe-htp", "snpe-dsp-v66",
    }  # fmt: skip
    assert sum(data["by_status"].values()) == data["operators"]
    assert data["reads"]["foresight"] == "constants"


def finding(op_type: str, node: str, reason: str, evidence: str = "") -> Finding:
    return Finding(node, op_type, reason, evidence, "fix it", "rejected")


def test_the_same_trouble_of_several_operators_is_told_once_but_harm_apart() -> None:
    found = [finding(op, f"{op}{i}", "too large", "rejected by x") for op in ("A", "B", "C", "D", "E") for i in (1, 2)]
    found += [finding("F", "F1", "too large", "wrong result by x"), finding("A", "A9", "too small")]
    told = across_operators(grouped(found))  # type: ignore[arg-type]  # the report's findings have no effect
    assert [(one.op_type, len(one.nodes)) for one in told] == [("A, B, C and 2 more", 10), ("F", 1), ("A", 1)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((1, 2, 3, 4), "the rank of input 0 must be between 1 and 4"),
        ((3, 4), "the rank of input 0 must be 3 or 4"),
        ((1, 2, 4), "the rank of input 0 must be 1 or 2 or 4"),
    ],
)
def test_numbers_in_a_row_are_told_as_a_span(values: tuple[int, ...], sentence: str) -> None:
    assert Is.model_validate({"fact": "input.0.rank", "in": values}).sentence() == sentence
