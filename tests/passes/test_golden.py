"""Before and after, pass by pass, in ONNX text: golden/PASS.CASE.before.txt becomes golden/PASS.CASE.after.txt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.ir import load, to_proto
from graphopt.pipeline import PASSES
from graphopt.verify import generate, run

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(file.name.removesuffix(".before.txt") for file in GOLDEN.glob("*.before.txt"))
INTERNAL = {"fix-input-shapes", "fix-input-values", "hard-sigmoid-first", "legalize", "prune-channels", "quantize"}
"""Passes that depend on the run around them, or on numbers, tested where that is."""
NO_KERNEL = ("opset-6", "training-dropout-kept", "causal-conv", "linear-attention", "flex-attention")
"""Cases of an opset that no oracle executes any more, or that onnxruntime does not know yet."""
CODED = ("decompose-quantized-recurrent",)
"""Cases whose original rounds activations to 256 codes, which is all that they and their replacement differ in."""


def text_of(model: ir.Model) -> str:
    """A model as ONNX text, without provenance and without shapes of interior values."""
    proto = to_proto(model)
    del proto.graph.value_info[:]
    for graph in (proto.graph, *(a.g for node in proto.graph.node for a in node.attribute)):
        for node in graph.node:
            del node.metadata_props[:]
    return onnx.printer.to_text(proto) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_a_pass_makes_the_golden_graph(case: str, apply: Callable[..., ir.Model]) -> None:
    before = (GOLDEN / f"{case}.before.txt").read_text()
    after = apply(case.split(".")[0], before)
    assert text_of(after) == (GOLDEN / f"{case}.after.txt").read_text()


@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith(NO_KERNEL)])
def test_the_golden_graphs_compute_the_same(case: str) -> None:
    before, after = (
        load(onnx.parser.parse_model((GOLDEN / f"{case}.{end}.txt").read_text())) for end in ("before", "after")
    )
    samples = generate(before, samples=1)
    for expected, actual in zip(run(before, samples), run(after, samples), strict=True):
        assert list(expected) == list(actual)
        for name, array in expected.items():
            atol = 0.02 if case.startswith(CODED) else 1e-5
            np.testing.assert_allclose(actual[name], array, rtol=1e-4, atol=atol)


def test_every_pass_of_the_package_has_a_golden_graph() -> None:
    ours = {entry.name for entry in PASSES.entries() if entry.source.startswith("graphopt ")}
    external = {name for name in ours if "external" in PASSES.find(name).point.value}
    assert ours - external - INTERNAL <= {case.split(".")[0] for case in CASES}
