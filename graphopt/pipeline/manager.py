"""The manager: runs passes in order, records each, checks the graph after each, and takes back what breaks a promise.

A rollback needs no snapshots: passes are deterministic, so the model before a bad pass is made again from the
original by the passes before it (from a checkpoint where those took long). A pass that does not repeat what it did
loses its place like any other that breaks a promise.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError, ModelError, UserError
from graphopt.ir.edit import adopt_opsets, nodes_of, owners
from graphopt.ir.validate import validate
from graphopt.pipeline.limit import within
from graphopt.pipeline.passes import Context, Pass, PassResult, RewritePass, worst
from graphopt.pipeline.soundness import Fingerprint, complaint_of, difference, signature_of
from graphopt.plugins.entry_points import HOME
from graphopt.report.model import PassRecord, Rewrite
from graphopt.rewrite import NearMiss
from graphopt.verify import Verification, judge

Verify = Literal["off", "final", "each"]
OnFailure = Literal["continue", "stop"]

PASS_TIMEOUT = 600.0
"""Seconds that one pass of another distribution may take, where nobody says otherwise."""

_CHECKPOINT_AFTER = 5.0
"""Seconds of passes beyond which a copy of the model is kept, so that a rollback does not run them again."""


@dataclass(frozen=True)
class Step:
    """A pass of a run and the distribution that it comes from."""

    one: Pass
    source: str

    @property
    def foreign(self) -> bool:
        """Whether the pass comes from another distribution than graphopt itself."""
        return self.source.partition(" ")[0] != HOME


@dataclass
class PipelineResult:
    """What a pipeline made.

    Attributes:
        model: the model after all passes that were kept.
        records: one a pass, in order.
        verification: the last verdict; skipped with `verify="off"`.
        misses: near misses of the rules to explain, with the pass they belong to.
        advice: what passes say of nodes that the backend does not take, by node.
        stopped: the pass that ended the run early, where the user chose to stop at a failure.
    """

    model: ir.Model
    records: list[PassRecord] = field(default_factory=list)
    verification: Verification = field(default_factory=lambda: Verification("skipped", reason="not asked for"))
    misses: list[tuple[str, NearMiss]] = field(default_factory=list)
    advice: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None


class PassManager:
    """Runs passes on fresh copies of a model; the original is never changed.

    Args:
        steps: passes in order.
        verify: "final" compares outputs with the original's at the end and finds the guilty pass where they differ;
            "each" compares after every pass; "off" does not execute anything.
        on_failure: go on without a pass that failed or was taken back, or stop there.
        samples: inputs to compare on, by input name; None makes the manager skip verification and say why.
        listener: called with the name of each pass before it runs, its position, and how many there are.
        pass_timeout: seconds that one pass of another distribution may take; graphopt's own have no limit.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        verify: Verify = "final",
        on_failure: OnFailure = "continue",
        samples: Callable[[], Sequence[Mapping[str, np.ndarray]]] | None = None,
        listener: Callable[[str, int, int], None] | None = None,
        pass_timeout: float = PASS_TIMEOUT,
    ) -> None:
        self.steps, self.verify, self.on_failure = list(steps), verify, on_failure
        self.pass_timeout = pass_timeout
        self._samples, self._listener = samples, listener

    def run(self, original: Callable[[], ir.Model], context: Context) -> PipelineResult:
        """Run the pipeline.

        Args:
            original: gives the model to start from, a fresh copy in every call.
            context: what passes may know of the run.
        """
        with no_collection():
            return _Run(self, original, context).go()

    def samples(self) -> Sequence[Mapping[str, np.ndarray]]:
        """The inputs to compare on."""
        return self._samples() if self._samples is not None else []

    def tell(self, name: str, position: int) -> None:
        """Let the listener know."""
        if self._listener is not None:
            self._listener(name, position, len(self.steps))


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's cycle collector away: it walks every node of the graph again and again, which is quadratic."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Run:
    """One run: the model at work, and what is needed to make it again."""

    def __init__(self, manager: PassManager, original: Callable[[], ir.Model], context: Context) -> None:
        self.manager, self.original, self.context = manager, original, context
        self.model = original()
        self.signature = signature_of(self.model)
        self.kept: list[int] = []  # positions of the steps that changed the model
        self.settled: dict[str, list[int]] = {}  # idempotent passes, and what was kept when each ran last
        self.clean: bool | None = None
        self.checkpoint: tuple[ir.Model, int] | None = None
        self.since = 0.0
        self.result = PipelineResult(self.model)
        self._inputs: Sequence[Mapping[str, np.ndarray]] | None = None
        self._reference: ir.Model | None = None
        self._census: tuple[list[int], Counter[tuple[str, str]]] | None = None
        self._print: tuple[list[int], Fingerprint] | None = None

    def go(self) -> PipelineResult:
        for position, step in enumerate(self.manager.steps):
            self.manager.tell(step.one.name, position)
            record = self._step(position)
            if record.outcome in ("failed", "rolled_back") and self.manager.on_failure == "stop":
                self.result.stopped = step.one.name
                break
        self._settle()
        self.result.model = self.model
        return self.result

    def _step(self, position: int) -> PassRecord:
        step, start, nodes = self.manager.steps[position], time.perf_counter(), self._nodes()
        self.result.records.append(
            PassRecord(
                name=step.one.name, source=step.source, fidelity=step.one.fidelity, rewrites=0, nodes_before=nodes,
                nodes_after=nodes, seconds=0.0, outcome="unchanged",
            )
        )  # fmt: skip
        if step.one.idempotent and self.settled.get(step.one.spec) == self.kept:
            self._note(position, detail="nothing changed since it ran last")
            return self.result.records[position]
        result = self._try(position)
        if result is None:
            self._restore()
        else:
            self.settled[step.one.spec] = list(self.kept)
            self.result.misses.extend((step.one.name, miss) for miss in result.misses)
            self.result.advice.update(result.advice)
        if position in self.kept:
            self._keep_checkpoint(time.perf_counter() - start)
            if self.manager.verify == "each":
                verdict = self._judge(self.model, self.kept)
                if verdict.status == "failed":
                    self._take_back(position, verdict.reason)
        self._note(position, seconds=time.perf_counter() - start)
        return self.result.records[position]

    def _note(self, position: int, **facts: Any) -> None:
        self.result.records[position] = replace(self.result.records[position], **facts)

    def _try(self, position: int) -> PassResult | None:
        """Run one pass on the model at work and write down what it did; None where it failed and spoiled the model."""
        nodes, step = self._nodes(), self.manager.steps[position]
        self._note(position, nodes_before=nodes, nodes_after=nodes)
        try:
            result, self.model = self._apply(step, self.model)
        except _BrokenGraph as broken:
            self._note(position, outcome="rolled_back", detail=str(broken))
            return None
        except ModelError as error:
            self._note(position, outcome="failed", detail=str(error))
            return None
        except UserError:
            raise  # the request is wrong (an option does not fit this model): that is the user's to mend
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a stranger raises costs its own effect only)
            self._note(position, outcome="failed", detail=_words(error))
            return None
        if not result.rewrites:
            self._note(position, outcome="unchanged", rewrites=0, detail=result.detail)
            return result
        self.kept.append(position)
        log = tuple(Rewrite(rule=r.rule, removed=r.removed, added=r.made) for r in result.log)
        self._note(
            position, outcome="applied", rewrites=result.rewrites, detail=result.detail, log=log,
            metrics=result.metrics, nodes_after=self._nodes(),
        )  # fmt: skip
        return result

    def _operators(self) -> Counter[tuple[str, str]]:
        """How often each operator occurs in the model at work; counted again only where a pass changed something."""
        if self._census is None or self._census[0] != self.kept:
            nodes = (node for owner in owners(self.model) for node in nodes_of(owner))
            self._census = list(self.kept), Counter((node.domain, node.op_type) for node in nodes)
        return self._census[1]

    def _fingerprint(self, model: ir.Model) -> Fingerprint:
        """The fingerprint of a model; the model at work is looked at again only where a pass changed something."""
        if model is not self.model:
            return Fingerprint(model)
        if self._print is None or self._print[0] != self.kept:
            self._print = list(self.kept), Fingerprint(model)
        return self._print[1]

    def _nodes(self) -> int:
        """Nodes of the model at work, as `count_nodes` counts them."""
        return sum(count for (_, op_type), count in self._operators().items() if op_type != "Constant")

    def _apply(self, step: Step, start: ir.Model) -> tuple[PassResult, ir.Model]:
        """Run one pass and check what it made."""
        one = step.one
        if isinstance(one, RewritePass) and start is self.model and one.roots.isdisjoint(self._operators()):
            return PassResult(0), start
        before = self._fingerprint(start) if not isinstance(one, RewritePass) else None
        if step.foreign:
            result = within(self.manager.pass_timeout, lambda: one.run(start, self.context))
        else:
            result = one.run(start, self.context)
        if not isinstance(result, PassResult):
            raise TypeError(f"run must return a PassResult, not {type(result).__name__}")
        model = result.model if result.model is not None else start
        if not isinstance(model, ir.Model):
            raise TypeError(f"run must give an onnx_ir.Model, not {type(model).__name__}")
        if not result.rewrites and before is not None and before != Fingerprint(model):
            result = replace(result, rewrites=1, detail=result.detail or "changed the model without counting it")
        if not result.rewrites:
            return result, start
        adopt_opsets(model)
        _keep_extras(start, model)
        self._check(model, one)
        if one.changes_signature:
            self.signature = signature_of(model)
        elif signature_of(model) != self.signature:
            raise _BrokenGraph(f"changes the signature: {difference(self.signature, signature_of(model))}")
        return result, model

    def _check(self, model: ir.Model, one: Pass) -> None:
        """Structure of everything, and for passes that are plain code the onnx checker as well."""
        try:
            validate(model)
        except ModelError as error:
            raise _BrokenGraph(f"leaves a broken graph: {error}") from None
        if not isinstance(one, RewritePass):
            complaint = self._complaint(model)
            if complaint is not None:
                raise _BrokenGraph(f"leaves a broken graph: {complaint}")

    def _complaint(self, model: ir.Model) -> str | None:
        """The onnx checker's word, None where it refuses the user's own model: then it says nothing of the passes."""
        complaint = complaint_of(model)
        if complaint is not None and self.clean is None:
            self.clean = complaint_of(self.original()) is None
        return complaint if self.clean is not False else None

    def _restore(self) -> None:
        """Make the model again as it was after the passes that are kept."""
        again, done = self.kept, 0
        if self.checkpoint is not None:
            self.model, done = _copy(self.checkpoint[0]), self.checkpoint[1]
        else:
            self.model = self.original()
        self.signature, self.kept = signature_of(self.model), again[:done]
        for position in again[done:]:
            if self._try(position) is None:
                self.kept += [other for other in again if other > position]
                self.checkpoint = None
                return self._restore()
        return None

    def _keep_checkpoint(self, seconds: float) -> None:
        self.since += seconds
        if self.since > _CHECKPOINT_AFTER:
            self.checkpoint, self.since = (_copy(self.model), len(self.kept)), 0.0

    def _settle(self) -> None:
        """Compare with the original; where a promise is broken, find the pass, take it back, and compare again."""
        verdict = self._judge(self.model, self.kept)
        while verdict.status == "failed" and self.kept:
            guilty = self._blame()
            self._take_back(guilty, verdict.reason)
            if self.manager.on_failure == "stop" and self.result.stopped is None:
                self.result.stopped = self.manager.steps[guilty].one.name
            verdict = self._judge(self.model, self.kept)
        self.result.verification = verdict

    def _take_back(self, position: int, reason: str) -> None:
        """Undo one pass that is kept, and run those behind it again."""
        self.kept.remove(position)
        self.checkpoint = None
        nodes = self.result.records[position].nodes_before
        why = f"does not keep its fidelity ({self.manager.steps[position].one.fidelity}): {reason}"
        self._note(position, outcome="rolled_back", nodes_after=nodes, detail=why)
        self._restore()

    def _blame(self) -> int:
        """Position of the first pass after which the promise is broken, by bisection over the passes that are kept."""
        low, high = 0, len(self.kept)  # the promise holds after `low` passes and is broken after `high`
        while high - low > 1:
            middle = (low + high) // 2
            model = self.original()
            self.signature = signature_of(model)
            for position in self.kept[:middle]:
                try:
                    _, model = self._apply(self.manager.steps[position], model)
                except (Exception, SystemExit):  # noqa: BLE001 (it did not repeat what it did: that is guilt enough)
                    return position
            if self._judge(model, self.kept[:middle]).status == "failed":
                high = middle
            else:
                low = middle
        return self.kept[high - 1]

    def _judge(self, model: ir.Model, kept: Sequence[int]) -> Verification:
        """The verdict on a model that these steps made."""
        # What a pass of plain code made was checked at once.
        checked = not kept or not isinstance(self.manager.steps[kept[-1]].one, RewritePass)
        complaint = None if checked else self._complaint(model)
        if complaint is not None:
            return Verification("failed", reason=f"leaves a broken graph: {complaint}")
        if self.manager.verify == "off":
            return Verification("skipped", reason="not asked for")
        if self._inputs is None:
            self._inputs = self.manager.samples()
        if not self._inputs:
            return Verification("skipped", reason="there are no sample inputs")
        if self._reference is None:
            self._reference = self.original()
        return judge(self._reference, model, self._inputs, worst([self.manager.steps[k].one.fidelity for k in kept]))


def _copy(model: ir.Model) -> ir.Model:
    copy: ir.Model = model.clone()
    _keep_extras(model, copy)
    return copy


def _keep_extras(start: ir.Model, made: ir.Model) -> None:
    """What onnx_ir keeps beside the graph: a model that a pass builds anew does not lose it."""
    for key, value in start.meta.items():
        made.meta.setdefault(key, value)


class _BrokenGraph(GraphoptError):
    """A pass left a graph that is not sound."""


def _words(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if isinstance(error, GraphoptError) else f"{type(error).__name__}: {text}"
