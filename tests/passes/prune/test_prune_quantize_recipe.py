"""The recipe that prunes, quantizes and compiles, on a real network."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt.api import Data

RECIPE = Path(__file__).parents[3] / "examples" / "recipes" / "prune-quantize.toml"


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="needs the extra tflite")
def test_a_network_is_pruned_quantized_and_compiled_in_one_run(
    demo_file: Callable[[str], Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.standard_normal((1, 3, 6, 24)).astype(np.float32)
        np.savez(tmp_path / f"{number}.npz", x=np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3))
    done = graphopt.optimize(
        demo_file("cls"), backend="tflite", recipe=RECIPE.read_text(encoding="utf-8"), calibration=Data(tmp_path)
    )
    report = done.report
    records = {record.name: record for record in report.passes}
    pruned = records["prune-channels"].metrics
    assert records["prune-channels"].outcome == records["quantize"].outcome == "applied"
    assert abs(pruned["macs_after"] / pruned["macs_before"] - 0.7) <= 0.02
    assert report.status == "ok"
    assert report.compile is not None
    assert report.compile.status == "ok"
    assert report.compile.execution is not None
    assert report.compile.execution.status == "passed"
    assert report.output is not None
    assert report.output.bytes < 0.75 * report.input.bytes
