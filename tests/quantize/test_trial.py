"""Quantized models are measured against the float one, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from graphopt.quantize.trial import Judge

SAMPLES = [{"x": np.array([3, 4], np.float32)}, {"x": np.array([-6, 8], np.float32)}]


def _net(build: Callable[..., ir.Model], op_type: str, *constants: float) -> ir.Model:
    held = {f"c{n}": np.array([value, 0], np.float32) for n, value in enumerate(constants)}
    return build([helper.make_node(op_type, ["x", *held], ["y"])], held, {"x": [2]}, ["y"])


def test_noise_is_told_against_the_signal_of_each_sample(build: Callable[..., ir.Model]) -> None:
    found = Judge(_net(build, "Identity"), SAMPLES).sqnr_db(_net(build, "Add", 0.5))
    np.testing.assert_allclose(found, [20, 20 + 10 * np.log10(4)], atol=1e-4)


def test_a_model_without_error_has_the_most_that_is_told(build: Callable[..., ir.Model]) -> None:
    assert Judge(_net(build, "Identity"), SAMPLES).sqnr_db(_net(build, "Identity")).tolist() == [300, 300]


def test_outputs_of_another_size_have_no_likeness(build: Callable[..., ir.Model]) -> None:
    twice = build([helper.make_node("Concat", ["x", "x"], ["y"], axis=0)], {}, {"x": [2]}, ["y"])
    assert Judge(_net(build, "Identity"), SAMPLES).sqnr_db(twice).tolist() == [0, 0]


def test_results_are_held_within_a_budget(build: Callable[..., ir.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphopt.quantize.trial.BUDGET", 8)
    assert len(Judge(_net(build, "Identity"), SAMPLES).sqnr_db(_net(build, "Identity"))) == 1
