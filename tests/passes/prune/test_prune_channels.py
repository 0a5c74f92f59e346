"""The pass on real networks: budgets, what stays, what it says, and that nothing half done comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import graphopt
from graphopt.errors import UserError
from graphopt.ir import load, save
from graphopt.pipeline import Context, PassResult
from graphopt.pipeline.soundness import complaint_of, signature_of
from graphopt.verify import compare, run
from graphopt_passes.prune.prune_channels import PruneChannels


def _samples(count: int) -> list[dict[str, np.ndarray]]:
    """Smooth random pictures, which have the neighborhoods that noise lacks."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = rng.standard_normal((1, 3, 6, 24)).astype(np.float32)
        made.append({"x": np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)})
    return made


def _prune(model: ir.Model, **options: object) -> PassResult:
    given = _samples(8)
    return PruneChannels(**options).run(model, Context(calibration=lambda: iter(given)))


@pytest.fixture(scope="module")
def classifier(demo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's classifier, canonical and fused."""
    path = tmp_path_factory.mktemp("prune") / "cls.onnx"
    save(graphopt.optimize(demo("cls"), verify="off", compile=False).model, path)
    return path


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_the_budget_is_met_on_a_real_network(classifier: Path, share: float) -> None:
    model = load(classifier)
    before = signature_of(model)
    result = _prune(model, macs=share, criterion="activation", recover=False)
    assert result.model is not None
    assert abs(result.metrics["macs_after"] / result.metrics["macs_before"] - share) <= 0.02
    assert result.metrics["params_after"] < result.metrics["params_before"]
    assert complaint_of(result.model) is None
    assert signature_of(result.model) == before
    assert run(result.model, _samples(1))


def test_fitting_helps_and_second_order_costs_least(classifier: Path) -> None:
    errors = {}
    for name, options in {
        "unfitted": {"criterion": "l2", "recover": False}, "l2": {"criterion": "l2"}, "obs": {"criterion": "obs"},
    }.items():  # fmt: skip
        result = _prune(load(classifier), macs=0.8, **options)
        errors[name] = result.metrics["sqnr_after_recovery"]
    assert errors["l2"] > errors["unfitted"]
    assert errors["obs"] > errors["unfitted"]


def test_the_detail_says_what_left_and_what_it_cost(classifier: Path) -> None:
    result = _prune(load(classifier), ratio=0.2, criterion="l1")
    assert "channels of" in result.detail
    assert "SQNR" in result.detail
    assert result.metrics["sqnr_after_recovery"] >= result.metrics["sqnr_before_recovery"]
    assert 0 <= result.metrics["agreement_after_recovery"] <= 1
    assert result.model is not None
    widths = _widths(result.model)
    rows = [row for row in result.metrics["removed"] if row["kind"] == "Conv"]
    assert rows
    assert all(widths[row["layer"]] == row["after"] < row["before"] for row in rows)


def test_channels_left_are_a_multiple_of_what_the_backend_likes(classifier: Path) -> None:
    before = _widths(load(classifier))
    result = _prune(load(classifier), params=0.7, round_to=8, criterion="l2", recover=False)
    assert result.model is not None
    after = _widths(result.model)
    changed = [width for name, width in after.items() if width != before[name]]
    assert changed
    assert all(width % 8 == 0 for width in changed)


def _widths(model: ir.Model) -> dict[str, int]:
    """Output channels of each convolution."""
    return {node.name or "": int(node.inputs[1].shape[0]) for node in model.graph if node.op_type == "Conv"}


def test_what_is_excluded_keeps_its_channels(classifier: Path) -> None:
    result = _prune(load(classifier), macs=0.5, exclude="Conv ConvTranspose", criterion="l2")
    assert result.rewrites == 0
    assert "stay instead of 50.0%" in result.detail


def test_a_goal_of_accuracy_prunes_as_far_as_it_is_kept(classifier: Path) -> None:
    result = _prune(load(classifier), min_sqnr=12.0, criterion="activation", recover=False)
    assert result.metrics["macs_after"] < result.metrics["macs_before"]
    assert result.metrics["sqnr_after_recovery"] >= 12.0


def test_a_goal_of_latency_is_measured(classifier: Path) -> None:
    result = _prune(load(classifier), latency=0.8, criterion="l2", recover=False)
    assert result.metrics["macs_after"] < result.metrics["macs_before"]
    assert 0.4 < result.metrics["latency_share"] < 1.1  # other work on this machine makes it vary
    assert "latency in onnxruntime" in result.detail


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"macs": 0.5, "ratio": 0.5},
        {"macs": 0.0},
        {"ratio": 1.0},
        {"macs": 1.5},
        {"latency": 2.0},
        {"macs": 0.5, "round_to": -1},
    ],
)
def test_a_wrong_budget_is_told_in_one_line(classifier: Path, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"^pass prune-channels[^\n]*$"):
        PruneChannels(**options).run(load(classifier), Context())


def test_pruning_twice_gives_the_same_model(classifier: Path) -> None:
    first, second = (_prune(load(classifier), macs=0.7, criterion="l2") for _ in range(2))
    assert first.detail == second.detail
    (error,) = compare(run(first.model, _samples(1)), run(second.model, _samples(1)))
    assert error.equal


def test_the_whole_run_keeps_the_signature_and_reports_the_loss(classifier: Path) -> None:
    recipe = '[[pass]]\nname = "canonicalize"\n\n[[pass]]\nname = "prune-channels"\nmacs = 0.8\ncriterion = "l2"\n'
    result = graphopt.optimize(classifier, recipe=recipe, compile=False)
    record = result.report.passes[-1]
    assert record.outcome == "applied"
    assert "on generated samples" in record.detail
    assert result.report.verification.status == "passed"
