"""Take channels out of a model, together with all that is coupled with them, and fit what is left.

    Conv(64 → 64) ─ Relu ─ Conv(64 → 128)     becomes     Conv(64 → 41) ─ Relu ─ Conv(41 → 128)

Which channels belong together is read off the graph (`graphopt.channels`), whatever the architecture: residuals,
concatenations, groups, heads, hidden units. What cannot leave stays, and the detail says why. Each layer is then fitted
to what the original computed, on the samples of `--calibration`, without labels. Fidelity: lossy; the detail says what
the removal cost before and after the fit, on samples that nothing was fitted to where there are enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from graphopt.channels.criteria import Criterion
from graphopt.channels.plan import Scope
from graphopt.errors import UserError
from graphopt.ir import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult

if TYPE_CHECKING:
    from graphopt.channels.prune import Measure, Outcome, Pruner, Request

_GENERATED = 8
_MOST = 32
_ROUND = 8
"""What kernels like channels to be a multiple of: onnxruntime's blocks, the vendors' vectors."""
_WIDE = 32


class PruneChannels(Pass):
    """Take out the channels that matter least, with all that is coupled with them, and fit what is left."""

    name = "prune-channels"
    fidelity = "lossy"

    @dataclass(frozen=True)
    class Options:
        """How much, and by what."""

        macs: float | None = None
        """Share of the multiply-accumulates that stays, as 0.7."""
        params: float | None = None
        """Share of the parameters that stays."""
        ratio: float | None = None
        """Share of the channels that leaves, as 0.3."""
        latency: float | None = None
        """Share of the latency in onnxruntime that stays, measured on this machine."""
        max_drop: float | None = None
        """Prune as far as the largest outputs stay the same in all but this share of places, as 0.02."""
        min_sqnr: float | None = None
        """Prune as far as the outputs keep this SQNR, in dB."""
        criterion: Criterion = "obs"
        """What matters: l1, l2, fpgm, bn, activation, obs (second order: what is left after the others make up)."""
        scope: Scope = "global"
        """Compare all layers (global), or take the same share of each (uniform)."""
        round_to: int = 0
        """What stays of a layer is a multiple of this; 0: of 8 in layers of 32 channels and more."""
        exclude: str = ""
        """What keeps its channels: names of nodes or of operators, separated by spaces."""
        sensitivity: bool = False
        """Weigh each group of channels by what its removal does to the outputs: one more run for each group."""
        recover: bool = True
        """Fit each layer to what the original computed."""

    def run(self, model: ir.Model, context: Context) -> PassResult:
        """Give the pruned model; the given one stays as it is.

        Raises:
            UserError: no budget or several are given, or one that is out of range; the samples do not fit the model.
        """
        from graphopt.channels.prune import Pruner
        from graphopt.verify import ExecutionFailed, concrete_shapes

        request = self._request()
        samples, note = _samples(model, context)
        infer_shapes(model)
        try:
            pruner = Pruner(model, samples, {} if samples else concrete_shapes(model, context.dims))
            outcome, share = self._prune(pruner, request, samples)
        except ExecutionFailed as error:
            if context.calibration is None:
                raise
            advice = "give --dim the sizes that the samples have"
            raise UserError(f"{self.name}: the model does not run on the samples ({error.reason}): {advice}") from None
        return _result(outcome, request, note, share)

    def _request(self) -> Request:
        from graphopt.channels.prune import Request

        options = self.options
        measures: dict[Measure, float | None] = {
            "macs": options.macs, "params": options.params,
            "channels": None if options.ratio is None else 1 - options.ratio,
        }  # fmt: skip
        given = [(measure, share) for measure, share in measures.items() if share is not None]
        goals = [goal is not None for goal in (options.latency, options.max_drop, options.min_sqnr)]
        if len(given) + sum(goals) != 1:
            wanted = "one of macs=0.7, params=0.7, ratio=0.3, latency=0.7, max_drop=0.02 and min_sqnr=20"
            raise UserError(f"pass {self.name} takes exactly {wanted}")
        measure, budget = given[0] if given else ("macs", 1.0)
        if not all(0 < share <= 1 for share in (budget, 1.0 if options.latency is None else options.latency)):
            raise UserError(f"pass {self.name}: a share is greater than 0 and at most 1 (ratio: less than 1)")
        if options.round_to < 0:
            raise UserError(f"pass {self.name}: round_to is a number of channels")
        return Request(
            budget, measure, options.criterion, options.scope, round_to=options.round_to or _ROUND,
            wide=0 if options.round_to else _WIDE, exclude=frozenset(options.exclude.split()),
            recovery=options.recover, sensitivity=options.sensitivity, made_by=self.name,
        )  # fmt: skip

    def _prune(
        self, pruner: Pruner, request: Request, samples: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[Outcome, float | None]:
        """Prune to the budget, or as far as the goal asks; with the share of the latency where that is the goal."""
        from graphopt_passes.prune.goals import as_fast, as_good

        options = self.options
        if options.latency is not None:
            if not samples:
                raise UserError(f"pass {self.name}: latency is measured in onnxruntime, which does not take the model")
            return as_fast(pruner, request, options.latency, samples[0])
        if options.max_drop is not None or options.min_sqnr is not None:
            return as_good(pruner, request, self._is_kept), None
        return pruner.prune(request), None

    def _is_kept(self, outcome: Outcome) -> bool:
        score = outcome.score
        if score is None:
            return not outcome.channels
        if self.options.min_sqnr is not None:
            return not score.sqnr < self.options.min_sqnr
        assert self.options.max_drop is not None
        return not score.agreement < 1 - self.options.max_drop


def _samples(model: ir.Model, context: Context) -> tuple[list[Mapping[str, np.ndarray]], str]:
    """What to measure on: the user's samples, else generated ones and a word of warning."""
    from graphopt.verify import ExecutionFailed, Runner, generate

    try:
        Runner(model)
    except ExecutionFailed as error:
        return [], f"by magnitude and not fitted, since onnxruntime does not take the model ({error.reason})"
    if context.calibration is not None:
        names = {value.name for value in model.graph.inputs}
        given = itertools.islice(context.calibration(), _MOST)
        return [{name: array for name, array in one.items() if name in names} for one in given], ""
    note = "on generated samples: give --calibration, since layers are fitted to noise now"
    return list(generate(model, dims=context.dims, samples=_GENERATED)), note


def _result(outcome: Outcome, request: Request, note: str, latency: float | None) -> PassResult:
    metrics: dict[str, Any] = {"channels_removed": outcome.channels, "layers_fitted": outcome.fitted}
    for name in ("macs", "params"):
        metrics |= {f"{name}_before": outcome.before[name], f"{name}_after": outcome.after[name]}
    told = [
        f"{outcome.channels} channels of {outcome.groups} groups removed" if outcome.channels else "no channel removed"
    ]
    shares = (f"{name} {outcome.after[name] / max(outcome.before[name], 1):.1%}" for name in ("macs", "params"))
    told.append(", ".join(shares))
    if latency is not None:
        metrics["latency_share"] = latency
        told.append(f"latency in onnxruntime {latency:.0%}")
    for name, score in (("before", outcome.unfitted), ("after", outcome.score)):
        if score is not None:
            metrics |= {f"sqnr_{name}_recovery": score.sqnr, f"agreement_{name}_recovery": score.agreement}
    if outcome.channels:
        told.append(_accuracy(outcome))
    metrics["removed"] = [asdict(one) for one in outcome.removed]
    if latency is None and (outcome.limits or (not outcome.channels and request.budget < 1)):
        limits = "; ".join(outcome.limits) or "the model has no channels that weights make"
        told.append(f"{outcome.left:.1%} of {request.measure} stay instead of {request.budget:.1%}: {limits}")
    told += [note] if note else []
    return PassResult(outcome.channels, "; ".join(told), outcome.model, metrics=metrics)


def _accuracy(outcome: Outcome) -> str:
    """What the removal did to the answers, before and after recovery."""
    before, after = outcome.unfitted, outcome.score
    if before is None or after is None:
        return "what that did to the answers is not known"
    told = [] if isnan(after.sqnr) else [f"SQNR {before.sqnr:.1f} dB, fitted {after.sqnr:.1f} dB"]
    told += [] if isnan(after.agreement) else [f"agreement {after.agreement:.0%}"]
    return ", ".join(told) or "the outputs hold nothing to compare"
