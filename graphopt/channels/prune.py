"""Prune a model's channels: graph, criteria, plan, removal, recovery, and what each of them did to the answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.channels.build import channel_graph, is_weight, sizes
from graphopt.channels.cost import Ledger, Term, mac_terms, parameter_terms
from graphopt.channels.criteria import MEASURED, Criteria, Criterion, Ranking
from graphopt.channels.cut import Cut
from graphopt.channels.graph import Axis
from graphopt.channels.groups import Classes, Family, families
from graphopt.channels.layers import layers
from graphopt.channels.plan import Plan, Scope, plan
from graphopt.channels.recover import recover
from graphopt.channels.sensitivity import scaled
from graphopt.channels.statistics import Moments, channel_moments, observe
from graphopt.verify import ExecutionFailed, run
from graphopt.verify.types import Array

Measure: TypeAlias = Literal["macs", "params", "channels"]
Samples: TypeAlias = Sequence[Mapping[str, Array]]

_TOLERANCE = 0.02
"""How near to the budget counts as met."""


@dataclass(frozen=True)
class Request:
    """What to prune.

    Attributes:
        budget: share that shall be left of what is measured.
        measure: multiply-accumulates, parameters, or channels.
        criterion: see `graphopt.channels.criteria`.
        scope: see `graphopt.channels.plan`.
        round_to: what channels are left is a multiple of this.
        exclude: names of nodes, or types of operators, whose channels stay.
        sensitivity: whether costs are scaled to what each family's removal does to the outputs.
        recovery: whether layers are fitted afterwards.
        made_by: the name that new nodes carry.
    """

    budget: float
    measure: Measure = "macs"
    criterion: Criterion = "obs"
    scope: Scope = "global"
    round_to: int = 1
    exclude: Collection[str] = ()
    recovery: bool = True
    sensitivity: bool = False
    made_by: str = "prune-channels"


@dataclass
class Outcome:
    """What pruning did.

    Attributes:
        model: the pruned model.
        removed: channels that left, by family (the name of the first layer), and how many it had.
        before, after: of the multiply-accumulates ("macs") and the parameters ("params").
        left: share of what the budget measures that is left.
        fitted: how many layers were fitted.
        sqnr: in dB on samples that nothing was fitted to, before and after recovery.
        agreement: share of the largest entries of the outputs at the same place, before and after recovery.
        limits: why no more can leave, most frequent first.
    """

    model: ir.Model
    removed: dict[str, tuple[int, int]] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    left: float = 1.0
    fitted: int = 0
    sqnr: tuple[float, float] | None = None
    agreement: tuple[float, float] | None = None
    limits: tuple[str, ...] = ()


class Pruner:
    """The channel graph of a model with all that pruning it needs; the model is changed by `prune` alone.

    Args:
        model: the model.
        samples: inputs by name; they give the sizes of open dimensions as well.
        shapes: shapes of inputs by name, where there are no samples.
    """

    def __init__(self, model: ir.Model, samples: Samples, shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.model, self.samples = model, _distinct(samples)
        given = {name: np.shape(array) for name, array in samples[0].items()} if samples else dict(shapes or {})
        known = sizes(model, given)
        known.update(_seen(model, known, self.samples))
        self.graph = channel_graph(model, known)
        self.classes = Classes(self.graph)
        self.families = [one for one in families(self.graph, self.classes) if _has_weight(one)]

    def rankings(
        self, criterion: Criterion, exclude: Collection[str] = (), *, sensitivity: bool = False
    ) -> list[Ranking]:
        """The units of all families that may lose some, in the order in which they should."""
        chosen = [one for one in self.families if not _is_excluded(one, exclude)]
        moments: dict[ir.Value, Moments] = {}
        if criterion in MEASURED and self.samples:
            asked = {layer.x: layer.along for layer in layers(self.model, self.graph)}
            moments = channel_moments(self.model, list(asked.items()), self.samples, self.graph.shapes)
        criteria = Criteria(self.model, self.graph, criterion, moments)
        ranked = [criteria.rank(one) for one in chosen]
        return scaled(self.model, ranked, criteria, self.samples) if sensitivity and self.samples else ranked

    def prune(self, request: Request, tell: Callable[[str], None] = lambda text: None) -> Outcome:
        """Prune the model in place and say what that did; a model of which nothing can leave stays as it is."""
        tell("rank channels")
        rankings = self.rankings(request.criterion, request.exclude, sensitivity=request.sensitivity)
        made = self._plan(rankings, request)
        outcome = self._outcome(made, rankings, request)
        if not made.ledger.gone.any():
            return outcome
        original = self.model.clone()
        cut = Cut(self.model, self.graph, made.ledger.gone, request.made_by)
        cut.run()
        fit, held = _apart(self.samples)
        unfitted = _score(original, self.model, held)
        if request.recovery and fit:
            tell("fit layers")
            before = self.model.clone()
            outcome.fitted = recover(original, self.model, cut, fit, tell)
            fitted = _score(original, self.model, held)
            if unfitted is not None and (fitted is None or fitted[0] < unfitted[0]):
                outcome.model, outcome.fitted, fitted = before, 0, unfitted
        else:
            fitted = unfitted
        if unfitted is not None and fitted is not None:
            outcome.sqnr, outcome.agreement = (unfitted[0], fitted[0]), (unfitted[1], fitted[1])
        return outcome

    def _plan(self, rankings: Sequence[Ranking], request: Request) -> Plan:
        """What leaves. Recurrent layers and the others each give their share, so the budget holds with and without."""
        terms = self._terms(request.measure, rankings)
        kinds = [[term for term in terms if term.recurrent is kind] for kind in (False, True)]
        options: dict[str, Any] = {"scope": request.scope, "round_to": request.round_to}
        made: Plan | None = None
        guarded: Ledger | None = None
        for part in kinds if all(kinds) else ():
            made = plan(rankings, Ledger(self.graph, part), request.budget, before=made, guarded=guarded, **options)
            guarded = made.ledger
        return plan(rankings, Ledger(self.graph, terms), request.budget, before=made, **options)

    def _terms(self, measure: Measure, rankings: Sequence[Ranking]) -> list[Term]:
        if measure == "channels":
            return [Term((_counted(one.family),)) for one in rankings]
        return mac_terms(self.model, self.graph) if measure == "macs" else parameter_terms(self.graph)

    def _outcome(self, made: Plan, rankings: Sequence[Ranking], request: Request) -> Outcome:
        outcome = Outcome(self.model, left=made.ledger.total / made.ledger.whole if made.ledger.whole else 1.0)
        for number, ranking in zip(made.taken, rankings, strict=True):
            if number:
                outcome.removed[_name(ranking.family)] = (number, len(ranking.order))
        for name, terms in (("macs", mac_terms(self.model, self.graph)), ("params", parameter_terms(self.graph))):
            ledger = Ledger(self.graph, terms)
            outcome.before[name] = ledger.total
            ledger.remove(np.flatnonzero(made.ledger.gone))
            outcome.after[name] = ledger.total
        if abs(outcome.left - request.budget) > _TOLERANCE:
            outcome.limits = self.limits()
        return outcome

    def limits(self) -> tuple[str, ...]:
        """Why channels of layers cannot leave: each reason with how many of them it holds, most first."""
        reasons: Counter[str] = Counter()
        of = self.classes.of
        outs = {int(one) for layer in layers(self.model, self.graph) for one in _outs(layer.weight, layer.outs, self)}
        for pin in self.graph.pins:
            held = outs.intersection(of[pin.cells].tolist())
            if held:
                reasons[pin.reason] += len(held)
        return tuple(f"{count} channels stay because {reason}" for reason, count in reasons.most_common(3))


def _counted(family: Family) -> Axis:
    """The axis whose entries are a family's channels."""
    return max(family.axes, key=lambda axis: axis.size == len(family.units))


def _outs(value: ir.Value, axis: int, pruner: Pruner) -> Array:
    one = pruner.graph.find(value, axis)
    return pruner.classes.of[one.cells] if one is not None else np.array([], np.int64)


def _has_weight(family: Family) -> bool:
    return any(isinstance(axis.owner, ir.Value) and is_weight(axis.owner) for axis in family.axes)


def _name(family: Family) -> str:
    """The first node that makes one of a family's axes."""
    for axis in family.axes:
        node = axis.owner if isinstance(axis.owner, ir.Node) else axis.owner.producer()
        if node is not None and node.op_type != "Constant":
            return f"{node.name or node.op_type}[{axis.index}]"
    return str(family.axes[0])


def _is_excluded(family: Family, exclude: Collection[str]) -> bool:
    for axis in family.axes:
        node = axis.owner if isinstance(axis.owner, ir.Node) else axis.owner.producer()
        if node is not None and (node.name in exclude or node.op_type in exclude):
            return True
    return False


def _seen(model: ir.Model, known: Collection[ir.Value], samples: Samples) -> dict[ir.Value, tuple[int, ...]]:
    """The shapes of values that inference cannot tell, where the first and the last sample agree on them."""
    missing = [value for node in model.graph for value in node.outputs if value.name and value not in known]
    if not missing or not samples:
        return {}
    first, last = observe(model, missing, (samples[0], samples[-1]))
    names = {value.name: value for value in missing}
    return {names[name]: array.shape for name, array in first.items() if array.shape == last[name].shape}


def _distinct(samples: Samples) -> Samples:
    """Samples that occur once: a repeated one must not be both fitted to and judged by."""
    found: dict[bytes, Mapping[str, Array]] = {}
    for sample in samples:
        digest = hashlib.sha256()
        for name in sorted(sample):
            digest.update(np.ascontiguousarray(sample[name]).tobytes())
        found.setdefault(digest.digest(), sample)
    return list(found.values())


def _apart(samples: Samples) -> tuple[Samples, Samples]:
    """Samples to fit to, and samples to judge by: a quarter, where there are enough."""
    held = len(samples) // 4
    return (samples[:-held], samples[-held:]) if held else (samples, samples)


def _score(original: ir.Model, pruned: ir.Model, samples: Samples) -> tuple[float, float] | None:
    """SQNR in dB over all outputs, and agreement of their largest entries; None where a model does not run."""
    try:
        expected, actual = run(original, samples), run(pruned, samples)
    except ExecutionFailed:
        return None
    signal = noise = same = count = 0.0
    for left, right in zip(expected, actual, strict=True):
        for name, want in left.items():
            got = right[name]
            if want.dtype.kind != "f" or want.shape != got.shape or not want.size:
                continue
            a, b = want.astype(np.float64), got.astype(np.float64)
            signal, noise = signal + float(np.square(a).sum()), noise + float(np.square(a - b).sum())
            if a.ndim and a.shape[-1] > 1:
                hits = a.argmax(axis=-1) == b.argmax(axis=-1)
                same, count = same + float(hits.sum()), count + hits.size
    if not np.isfinite(noise):
        return -np.inf, 0.0
    ratio = 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30))
    return float(ratio), same / count if count else 1.0
