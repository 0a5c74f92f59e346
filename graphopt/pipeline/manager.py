"""The manager: runs passes in order, records each, checks the graph after each, and takes back what breaks a promise.

A rollback needs no snapshots: passes are deterministic, so the model before a bad pass is made again from the
original by the passes before it (from a checkpoint where those took long).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError, ModelError, UserError
from graphopt.ir.edit import adopt_opsets, count_nodes
from graphopt.ir.io import to_proto
from graphopt.ir.validate import validate
from graphopt.pipeline.passes import Context, Pass, PassResult, RewritePass, worst
from graphopt.report.model import PassRecord, Rewrite
from graphopt.rewrite import Fidelity, NearMiss
from graphopt.verify import Verification, judge

Verify = Literal["off", "final", "each"]
OnFailure = Literal["continue", "stop"]

_CHECKPOINT_AFTER = 5.0
"""Seconds of passes beyond which a copy of the model is kept, so that a rollback does not run them again."""


@dataclass(frozen=True)
class Step:
    """A pass of a run and the distribution that it comes from."""

    one: Pass
    source: str


@dataclass
class PipelineResult:
    """What a pipeline made.

    Attributes:
        model: the model after all passes that were kept.
        records: one a pass, in order.
        verification: the last verdict; skipped with `verify="off"`.
        misses: near misses of the rules to explain, with the pass they belong to.
        stopped: the pass that ended the run early, where the user chose to stop at a failure.
    """

    model: ir.Model
    records: list[PassRecord] = field(default_factory=list)
    verification: Verification = field(default_factory=lambda: Verification("skipped", reason="not asked for"))
    misses: list[tuple[str, NearMiss]] = field(default_factory=list)
    stopped: str | None = None

    @property
    def fidelity(self) -> Fidelity:
        """The weakest promise among the passes that changed the model."""
        return worst([r.fidelity for r in self.records if r.outcome == "applied"])


class PassManager:
    """Runs passes on fresh copies of a model; the original is never changed.

    Args:
        steps: passes in order.
        verify: "final" compares outputs with the original's at the end and finds the guilty pass where they differ;
            "each" compares after every pass; "off" does not execute anything.
        on_failure: go on without a pass that failed or was taken back, or stop there.
        samples: inputs to compare on, by input name; None makes the manager skip verification and say why.
        listener: called with the name of each pass before it runs, its position, and how many there are.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        verify: Verify = "final",
        on_failure: OnFailure = "continue",
        samples: Callable[[], Sequence[Mapping[str, np.ndarray]]] | None = None,
        listener: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.steps, self.verify, self.on_failure = list(steps), verify, on_failure
        self._samples, self._listener = samples, listener

    def run(self, original: Callable[[], ir.Model], context: Context) -> PipelineResult:
        """Run the pipeline.

        Args:
            original: gives the model to start from, a fresh copy in every call.
            context: what passes may know of the run.
        """
        return _Run(self, original, context).go()

    def samples(self) -> Sequence[Mapping[str, np.ndarray]]:
        """The inputs to compare on."""
        return self._samples() if self._samples is not None else []

    def tell(self, name: str, position: int) -> None:
        """Let the listener know."""
        if self._listener is not None:
            self._listener(name, position, len(self.steps))


class _Run:
    """One run: the model at work, and what is needed to make it again."""

    def __init__(self, manager: PassManager, original: Callable[[], ir.Model], context: Context) -> None:
        self.manager, self.original, self.context = manager, original, context
        self.model = original()
        self.signature = _signature(self.model)
        self.kept: list[Pass] = []
        self.checkpoint: tuple[ir.Model, int] | None = None
        self.since = 0.0
        self.result = PipelineResult(self.model)
        self._inputs: Sequence[Mapping[str, np.ndarray]] | None = None
        self._reference: ir.Model | None = None

    def go(self) -> PipelineResult:
        nodes = count_nodes(self.model)
        for position, step in enumerate(self.manager.steps):
            self.manager.tell(step.one.name, position)
            record = self._step(step, nodes)
            nodes = record.nodes_after
            self.result.records.append(record)
            if record.outcome in ("failed", "rolled_back") and self.manager.on_failure == "stop":
                self.result.stopped = step.one.name
                break
        if self.manager.verify != "off":
            self._settle()
        self.result.model = self.model
        return self.result

    def _step(self, step: Step, nodes: int) -> PassRecord:
        one, start = step.one, time.perf_counter()
        record = PassRecord(
            name=one.name, source=step.source, fidelity=one.fidelity, rewrites=0, nodes_before=nodes,
            nodes_after=nodes, seconds=0.0, outcome="unchanged",
        )  # fmt: skip
        try:
            result = self._apply(one)
            self.result.misses.extend((one.name, miss) for miss in result.misses)
            if result.rewrites:
                log = tuple(Rewrite(rule=r.rule, removed=r.removed, added=r.made) for r in result.log)
                record = replace(
                    record, outcome="applied", rewrites=result.rewrites, detail=result.detail, log=log,
                    nodes_after=count_nodes(self.model),
                )  # fmt: skip
            elif result.detail:
                record = replace(record, detail=result.detail)
        except UserError:
            raise  # the request is wrong (an option does not fit this model): that is the user's to mend
        except _BrokenGraph as broken:
            self._restore()
            record = replace(record, outcome="rolled_back", detail=str(broken))
        except Exception as error:  # noqa: BLE001 (a stranger's pass may raise anything; it costs only its own effect)
            self._restore()
            record = replace(record, outcome="failed", detail=_words(error))
        seconds = time.perf_counter() - start
        if record.outcome == "applied":
            self.kept.append(one)
            self._keep_checkpoint(seconds)
            if self.manager.verify == "each":
                verdict = self._judge(self.model, worst([p.fidelity for p in self.kept]))
                if verdict.status == "failed":
                    self.kept.pop()
                    self._restore()
                    record = replace(
                        record, outcome="rolled_back", nodes_after=nodes,
                        detail=f"does not keep its fidelity ({one.fidelity}): {verdict.reason}",
                    )  # fmt: skip
        return replace(record, seconds=time.perf_counter() - start)

    def _apply(self, one: Pass) -> PassResult:
        """Run one pass on the model at work and check what it made."""
        result = one.run(self.model, self.context)
        if not isinstance(result, PassResult):
            raise TypeError(f"run must return a PassResult, not {type(result).__name__}")
        model = result.model if result.model is not None else self.model
        if result.rewrites or result.model is not None:
            adopt_opsets(model)
            _check(model, one)
            if one.changes_signature:
                self.signature = _signature(model)
            elif _signature(model) != self.signature:
                raise _BrokenGraph(f"changes the signature: {_difference(self.signature, _signature(model))}")
        self.model = model
        return result

    def _restore(self) -> None:
        """Make the model again as it was after the passes that are kept."""
        start, done = (self.checkpoint[0].clone(), self.checkpoint[1]) if self.checkpoint else (self.original(), 0)
        self.model, self.signature = start, _signature(start)
        for one in self.kept[done:]:
            self._apply(one)

    def _keep_checkpoint(self, seconds: float) -> None:
        self.since += seconds
        if self.since > _CHECKPOINT_AFTER:
            self.checkpoint, self.since = (self.model.clone(), len(self.kept)), 0.0

    def _settle(self) -> None:
        """Compare with the original; where a promise is broken, find the pass, take it back, and compare again."""
        verdict = self._judge(self.model, worst([p.fidelity for p in self.kept]))
        while verdict.status == "failed" and self.kept:
            guilty = self._blame()
            one = self.kept.pop(guilty)
            self.checkpoint = None
            self._mark_rolled_back(one, verdict)
            self._restore()
            verdict = self._judge(self.model, worst([p.fidelity for p in self.kept]))
        self.result.verification = verdict

    def _mark_rolled_back(self, one: Pass, verdict: Verification) -> None:
        for index, record in enumerate(self.result.records):
            if record.name == one.name and record.outcome == "applied":
                why = f"does not keep its fidelity ({one.fidelity}): {verdict.reason}"
                self.result.records[index] = replace(
                    record, outcome="rolled_back", nodes_after=record.nodes_before, detail=why
                )
                return

    def _blame(self) -> int:
        """The first pass after which the promise is broken, by bisection over the passes that are kept."""
        low, high = 0, len(self.kept)  # the promise holds after `low` passes and is broken after `high`
        while high - low > 1:
            middle = (low + high) // 2
            part = self.kept[:middle]
            model = self.original()
            for one in part:
                result = one.run(model, self.context)
                model = result.model if result.model is not None else model
                adopt_opsets(model)
            if self._judge(model, worst([p.fidelity for p in part])).status == "failed":
                high = middle
            else:
                low = middle
        return high - 1

    def _judge(self, model: ir.Model, fidelity: Fidelity) -> Verification:
        if self._inputs is None:
            self._inputs = self.manager.samples()
        if not self._inputs:
            return Verification("skipped", reason="there are no sample inputs")
        if self._reference is None:
            self._reference = self.original()
        return judge(self._reference, model, self._inputs, fidelity)


class _BrokenGraph(GraphoptError):
    """A pass left a graph that is not sound."""


def _check(model: ir.Model, one: Pass) -> None:
    """Structure of everything, and for passes that are plain code the onnx checker as well."""
    try:
        validate(model)
    except ModelError as error:
        raise _BrokenGraph(f"leaves a broken graph: {error}") from None
    if not isinstance(one, RewritePass):
        check_with_onnx(model)


def check_with_onnx(model: ir.Model) -> None:
    """The onnx package's own checker, without the weights.

    Raises:
        _BrokenGraph: with the checker's words.
    """
    import onnx

    proto = to_proto(model)
    for graph in _graphs(proto.graph):
        for tensor in graph.initializer:
            if len(tensor.raw_data) > 1024 or tensor.data_location == onnx.TensorProto.EXTERNAL:
                # The checker reads only the type and the dimensions that matter here.
                dims, kind, name = list(tensor.dims), tensor.data_type, tensor.name
                tensor.Clear()
                tensor.name, tensor.data_type = name, kind
                tensor.dims.extend(0 for _ in dims or [0])
    try:
        onnx.checker.check_model(proto, full_check=False)
    except onnx.checker.ValidationError as error:
        raise _BrokenGraph(f"leaves a broken graph: {str(error).strip().splitlines()[0]}") from None


def _graphs(graph: Any) -> list[Any]:
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.extend(_graphs(attribute.g))
    return found


Signature = tuple[tuple[tuple[str | None, str, tuple[object, ...] | None], ...], ...]


def _signature(model: ir.Model) -> Signature:
    """Names, types and shapes of inputs and outputs, in order; and which inputs have defaults."""

    def facts(value: ir.Value) -> tuple[str | None, str, tuple[object, ...] | None]:
        shape = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
        return value.name, f"{value.type}{' with a default' if value.is_initializer() else ''}", shape

    return tuple(map(facts, model.graph.inputs)), tuple(map(facts, model.graph.outputs))


def _difference(before: Signature, after: Signature) -> str:
    for kind, old, new in zip(("inputs", "outputs"), before, after, strict=True):
        names, now = [v[0] for v in old], [v[0] for v in new]
        if names != now:
            return f"the {kind} were {', '.join(map(str, names))} and are {', '.join(map(str, now))}"
        for a, b in zip(old, new, strict=True):
            if a != b:
                return f"{a[0]} was {a[1]}{list(a[2] or [])} and is {b[1]}{list(b[2] or [])}"
    return "nothing"


def _words(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if isinstance(error, GraphoptError) else f"{type(error).__name__}: {text}"
