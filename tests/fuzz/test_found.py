"""What the fuzzer found stays mended: each model of found/, made small, through the passes that it failed in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from graphopt.fuzz.trial import trial
from graphopt.pipeline import Step, make_backend
from graphopt.pipeline.recipe import from_specs

FOLDER = Path(__file__).with_name("found")
FILES = sorted(FOLDER.glob("*.onnx"))

_spec = importlib.util.spec_from_file_location("fuzz_conftest", Path(__file__).with_name("conftest.py"))
_helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_helpers)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_model_that_once_failed_does_not_fail_again(file: Path) -> None:
    drawn, told = _helpers.found(file)
    backend = make_backend(told["backend"]) if told["backend"] else None
    steps = [Step(one, source) for one, source in from_specs(split(told["passes"])).build()]
    assert trial(drawn, steps, backend).failures == [], told["words"]


def split(passes: str) -> list[str]:
    """Specs of passes, whose options hold commas as well."""
    specs: list[str] = []
    for part in passes.split(","):
        if "=" in part and ":" not in part:
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    return specs
