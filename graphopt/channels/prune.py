"""Prune a model's channels: graph, criteria, plan, removal, recovery, and what each of them did to the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from graphopt.channels.build import channel_graph, is_weight, sizes, values_of
from graphopt.channels.compensate import made_up
from graphopt.channels.cost import Ledger, Term, mac_terms, parameter_terms
from graphopt.channels.criteria import MEASURED, Criteria, Criterion, Ranking
from graphopt.channels.cut import Cut, store
from graphopt.channels.graph import Axis
from graphopt.channels.groups import Classes, Family, families
from graphopt.channels.layers import RECURRENT, layers, readers_of, width_of
from graphopt.channels.plan import Plan, Scope, plan
from graphopt.channels.recover import recover
from graphopt.channels.score import Samples, Score, apart, distinct, score
from graphopt.channels.segments import held_bytes
from graphopt.channels.sensitivity import scaled
from graphopt.channels.statistics import Moments, channel_moments, observe
from graphopt.ir.edit import nodes_of
from graphopt.verify import ExecutionFailed, run
from graphopt.verify.types import Array

Measure: TypeAlias = Literal["macs", "params", "channels"]

_TOLERANCE = 0.02
"""How near to the budget counts as met."""
_TRIES = 4
_MEMORY = 2 << 30
"""Bytes of values that recovery holds, unless a few samples alone take more."""
_LEAST = 4


@dataclass(frozen=True)
class Request:
    """What to prune.

    Attributes:
        budget: share that shall be left of what is measured.
        measure: multiply-accumulates, parameters, or channels.
        criterion: see `graphopt.channels.criteria`.
        scope: see `graphopt.channels.plan`.
        round_to: what channels are left is a multiple of this.
        wide: groups of fewer channels than this are not rounded.
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
    wide: int = 0
    exclude: Collection[str] = ()
    recovery: bool = True
    sensitivity: bool = False
    made_by: str = "prune-channels"


@dataclass(frozen=True)
class Removed:
    """What a layer lost.

    Attributes:
        layer: name of its node.
        kind: its operator.
        before, after: its output channels (hidden units, entries of an embedding).
    """

    layer: str
    kind: str
    before: int
    after: int


@dataclass
class Outcome:
    """What pruning did.

    Attributes:
        model: the pruned model.
        channels: how many left; channels that are coupled count as one.
        groups: how many groups of coupled layers they were taken from.
        removed: what every layer lost, in the order of the model.
        before, after: of the multiply-accumulates ("macs") and the parameters ("params").
        left: share of what the budget measures that is left.
        fitted: how many layers were fitted.
        unfitted, score: on samples that nothing was fitted to, before and after recovery; None where not measured.
        limits: why no more can leave, most frequent first.
    """

    model: ir.Model
    channels: int = 0
    groups: int = 0
    removed: tuple[Removed, ...] = ()
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    left: float = 1.0
    fitted: int = 0
    unfitted: Score | None = None
    score: Score | None = None
    limits: tuple[str, ...] = ()


class Pruner:
    """The channel graph of a model with all that pruning it needs; the model stays as it is, what leaves leaves a copy.

    Args:
        model: the model.
        samples: inputs by name; they give the sizes of open dimensions as well.
        shapes: shapes of inputs by name, where there are no samples.
    """

    def __init__(self, model: ir.Model, samples: Samples, shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.model, self.samples = model, distinct(samples)
        given = {name: np.shape(array) for name, array in samples[0].items()} if samples else dict(shapes or {})
        known = sizes(model, given)
        known.update(_seen(model, known, self.samples))
        self._fit, self._held = apart(self.samples)
        self.graph = channel_graph(model, known)
        self.classes = Classes(self.graph)
        self._ranked: dict[object, tuple[Criteria, list[Ranking]]] = {}
        self.families = [one for one in families(self.graph, self.classes) if _has_weight(one)]

    def rankings(
        self, criterion: Criterion, exclude: Collection[str] = (), *, sensitivity: bool = False
    ) -> list[Ranking]:
        """The units of all families that may lose some, in the order in which they should."""
        return self._rank(criterion, exclude, sensitivity)[1]

    def prune(self, request: Request, tell: Callable[[str], None] = lambda text: None) -> Outcome:
        """Prune a copy of the model and say what that did; where nothing can leave, the model itself comes out."""
        tell("rank channels")
        criteria, rankings = self._rank(request.criterion, request.exclude, request.sensitivity)
        made = self._plan(rankings, request)
        gone = made.ledger.gone
        outcome = self._outcome(made, rankings, request)
        if not gone.any():
            return outcome
        copy = outcome.model = self.model.clone()
        twins = dict(zip(values_of(self.model), values_of(copy), strict=True))
        graph = channel_graph(copy, {twins[value]: shape for value, shape in self.graph.shapes.items()})
        cut = Cut(copy, graph, gone, request.made_by)
        cut.run()
        failed = _failure(copy, self._held)
        if failed is not None:
            return self.prune(_without(request, failed, self.model), tell)
        outcome.unfitted = outcome.score = score(self.model, copy, self._held)
        if request.recovery and self._fit:
            tell("fit layers")
            before = copy.clone()
            for value, array in made_up(self.model, self.graph, criteria, gone).items():
                store(twins[value], cut.sliced(twins[value], array))
            outcome.fitted = recover(self.model, copy, cut, self._fit[: self._most()], tell)
            fitted = score(self.model, copy, self._held)
            if _is_worse(fitted, outcome.unfitted):
                outcome.model, outcome.fitted = before, 0
            else:
                outcome.score = fitted
        return outcome

    def _most(self) -> int:
        """How many samples recovery can hold at a time, of both models."""
        return max(_LEAST, _MEMORY // max(2 * held_bytes(self.model, self.graph.shapes), 1))

    def _rank(
        self, criterion: Criterion, exclude: Collection[str], sensitivity: bool
    ) -> tuple[Criteria, list[Ranking]]:
        """The criteria with all that they measured, and the rankings; made once for the same question."""
        key = criterion, frozenset(exclude), sensitivity
        if key not in self._ranked:
            measured = criterion in MEASURED
            asked = {
                layer.x: layer.along
                for layer in readers_of(self.model, self.graph)
                if measured or layer.node.op_type in RECURRENT
            }
            moments: dict[ir.Value, Moments] = {}
            if asked and self._fit:
                moments = channel_moments(self.model, list(asked.items()), self._fit, self.graph.shapes)
            criteria = Criteria(self.model, self.graph, criterion, moments)
            ranked = [criteria.rank(one) for one in self.families if not _is_excluded(one, exclude)]
            if sensitivity and self._fit:
                ranked = scaled(self.model, ranked, criteria, self._fit)
            self._ranked[key] = criteria, ranked
        return self._ranked[key]

    def _plan(self, rankings: Sequence[Ranking], request: Request) -> Plan:
        """What leaves. Recurrent layers and the others each give their share, so the budget holds with and without.

        What one of them gives may take more from the other than its share: then the first is asked for less.
        """
        terms = self._terms(request.measure, rankings)
        options: dict[str, Any] = {"scope": request.scope, "round_to": request.round_to, "wide": request.wide}
        others, recurrent = ([term for term in terms if term.recurrent is kind] for kind in (False, True))
        budget = request.budget
        for _ in range(_TRIES if others and recurrent else 1):
            made = Plan(Ledger(self.graph, []), [0] * len(rankings))
            if others and recurrent:
                made = plan(rankings, Ledger(self.graph, others), budget, **options)
                made = plan(
                    rankings, Ledger(self.graph, recurrent), budget, before=made, guarded=made.ledger, **options
                )  # fmt: skip
            made = plan(rankings, Ledger(self.graph, terms), request.budget, before=made, **options)
            lacking = request.budget - made.ledger.total / max(made.ledger.whole, 1)
            if lacking <= _TOLERANCE / 2:
                break
            budget = min(budget + lacking, 1.0)
        return made

    def _terms(self, measure: Measure, rankings: Sequence[Ranking]) -> list[Term]:
        if measure == "channels":
            return [Term((_counted(one.family),)) for one in rankings]
        return mac_terms(self.model, self.graph) if measure == "macs" else parameter_terms(self.graph)

    def _outcome(self, made: Plan, rankings: Sequence[Ranking], request: Request) -> Outcome:
        outcome = Outcome(self.model, left=made.ledger.total / made.ledger.whole if made.ledger.whole else 1.0)
        outcome.channels, outcome.groups = sum(made.taken), sum(1 for number in made.taken if number)
        outcome.removed = tuple(self._removed(made.ledger.gone))
        for name, terms in (("macs", mac_terms(self.model, self.graph)), ("params", parameter_terms(self.graph))):
            ledger = Ledger(self.graph, terms)
            outcome.before[name] = ledger.total
            ledger.remove(np.flatnonzero(made.ledger.gone))
            outcome.after[name] = ledger.total
        if abs(outcome.left - request.budget) > _TOLERANCE:
            rounded = f"what stays of a layer is a multiple of {request.round_to} (see round_to)"
            outcome.limits = ((rounded,) if request.round_to > 1 else ()) + self.limits()
        return outcome

    def _removed(self, gone: Array) -> Iterator[Removed]:
        for node in nodes_of(self.model.graph):
            axis = width_of(node, self.graph)
            lost = int(gone[axis.start : axis.start + axis.size].sum()) if axis is not None else 0
            if axis is not None and lost:
                yield Removed(node.name or node.op_type, node.op_type, axis.size, axis.size - lost)

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


def _failure(model: ir.Model, samples: Samples) -> ExecutionFailed | None:
    try:
        run(model, samples[:1])
    except ExecutionFailed as error:
        return error
    return None


def _without(request: Request, failed: ExecutionFailed, original: ir.Model) -> Request:
    """The request with what a node that does not run on fewer channels touches left out.

    Raises:
        ExecutionFailed: it is not known which node that is, or it has been left out already.
    """
    nodes = [node for node in nodes_of(original.graph) if node.name and node.name == failed.node]
    makers = [value.producer() for node in nodes for value in node.inputs if value is not None]
    names = {node.name for node in (*nodes, *makers) if node is not None and node.name} - set(request.exclude)
    if not names:
        raise failed
    return replace(request, exclude={*request.exclude, *names})


def _is_worse(fitted: Score | None, unfitted: Score | None) -> bool:
    """Whether a fit did harm: by the SQNR, and where there is none by the agreement."""
    if fitted is None or unfitted is None:
        return unfitted is not None
    if np.isnan(unfitted.sqnr):
        return fitted.agreement < unfitted.agreement
    return not fitted.sqnr >= unfitted.sqnr
