"""One random model through one recipe, and what went wrong.

wrong            the outputs are not what the recipe's passes promise
invalid          the model does not pass the checker, or does not run
signature        an input or output changed its name, type or shape
crash            a pass raised
unrepeated       the same run made other bytes
delivered        the whole tool, with its verification on, wrote a model that is wrong
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from graphopt.errors import ModelError
from graphopt.fuzz.draw import Drawn
from graphopt.fuzz.jitter import jitter
from graphopt.fuzz.run import NoKernel, Unrunnable, execute
from graphopt.fuzz.valid import complaint
from graphopt.ir import infer_shapes, load, to_proto, validate
from graphopt.pipeline import Context, PassManager, Step
from graphopt.pipeline.passes import worst
from graphopt.rewrite import apply_rules
from graphopt.rewrite.rule import FIDELITIES, Fidelity
from graphopt.support.backend import Backend
from graphopt.testing.rules import RegisteredRule
from graphopt.verify import ExecutionFailed, OutputError, compare, holds, noise_floor, precision

KINDS = ("wrong", "invalid", "signature", "crash", "unrepeated", "delivered")
_FLOAT32 = 2.0**-24
_NOTHING = 2.0**-20
"""A difference that is none where a rule rounds: of an output that is that small itself, an SQNR says nothing."""

_BARE = 3
"""One seed in so many begins without inferred types and shapes."""


@dataclass(frozen=True)
class Failure:
    """What went wrong.

    Attributes:
        kind: see the module's docstring.
        blamed: the pass after which it shows.
        words: how it shows.
    """

    kind: str
    blamed: str
    words: str

    @property
    def signature(self) -> tuple[str, str]:
        """What makes two failures the same one, for a reducer."""
        return self.kind, self.blamed


@dataclass
class Outcome:
    """What a trial showed.

    Attributes:
        failures: what went wrong, one a kind and pass.
        fired: applications of rules, by "pass/rule".
        bytes: the optimized model.
        note: what settled a difference, "" where there was none.
    """

    failures: list[Failure] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    bytes: bytes = b""
    note: str = ""


def trial(drawn: Drawn, steps: Sequence[Step], backend: Backend | None = None) -> Outcome:
    """Run a model through passes without verification, and compare.

    Args:
        drawn: the model.
        steps: the passes.
        backend: what they may know of it.
    """
    outcome = Outcome()
    try:
        result = PassManager(steps, verify="off").run(lambda: _loaded(drawn), _context(drawn, backend))
    except Exception as error:  # noqa: BLE001 (whatever escapes the manager is what the fuzzer looks for)
        outcome.failures.append(Failure("crash", "the pipeline", f"{type(error).__name__}: {error}"))
        return outcome
    for record in result.records:
        if record.outcome == "failed":
            outcome.failures.append(Failure("crash", record.name, record.detail))
        elif record.outcome == "rolled_back":
            kind = "signature" if "signature" in record.detail else "invalid"
            outcome.failures.append(Failure(kind, record.name, record.detail))
        outcome.fired.update(f"{record.name}/{one.rule}" for one in record.log)
    applied = [step for step, record in zip(steps, result.records, strict=True) if record.outcome == "applied"]
    if not applied:
        return outcome
    try:
        outcome.bytes = _bytes(result.model)
    except ModelError as error:
        outcome.failures.append(Failure("crash", "the pipeline", str(error)))
        return outcome
    failure, outcome.note = difference(drawn, result.model, worst([step.one.fidelity for step in applied]))
    if failure is not None:
        outcome.failures.append(_blame(drawn, applied, backend, failure))
    return outcome


def alone(drawn: Drawn, registered: RegisteredRule) -> Outcome:
    """Apply one rule and nothing else, and compare: in its pass others may take what it is for."""
    outcome, model, name = Outcome(), load(drawn.proto), str(registered)
    infer_shapes(model)
    try:
        outcome.fired[name] = len(apply_rules(model, [registered.rule]).rewrites)
        validate(model)
    except Exception as error:  # noqa: BLE001 (whatever a rule raises is what is looked for)
        outcome.failures.append(Failure("crash", name, f"{type(error).__name__}: {error}"))
        return outcome
    if outcome.fired[name]:
        failure, outcome.note = difference(drawn, model, registered.rule.fidelity)
        if failure is not None:
            outcome.failures.append(Failure(failure.kind, name, failure.words))
    return outcome


def repeats(drawn: Drawn, steps: Sequence[Step], backend: Backend | None, before: bytes) -> Failure | None:
    """Whether the same run makes the same bytes again."""
    result = PassManager(steps, verify="off").run(lambda: _loaded(drawn), _context(drawn, backend))
    applied = any(record.outcome == "applied" for record in result.records)
    same = not applied or _bytes(result.model) == before
    return None if same else Failure("unrepeated", "the pipeline", "a second run makes other bytes")


def delivered(drawn: Drawn, steps: Sequence[Step], backend: Backend | None) -> Failure | None:
    """Whether the pipeline with its verification on lets something wrong through."""
    manager = PassManager(steps, verify="final", samples=lambda: drawn.samples)
    result = manager.run(lambda: _loaded(drawn), _context(drawn, backend))
    kept = [s.one.fidelity for s, r in zip(steps, result.records, strict=True) if r.outcome == "applied"]
    if not kept:
        return None
    failure, _ = difference(drawn, result.model, worst(kept))
    return None if failure is None else Failure("delivered", "the pipeline", f"{failure.kind}: {failure.words}")


def difference(drawn: Drawn, model: ir.Model, fidelity: Fidelity) -> tuple[Failure | None, str]:
    """What is wrong with a model that was made of a drawn one, None where nothing is; and what settled a doubt."""
    proto = to_proto(model)
    flaw = complaint(proto) if complaint(drawn.proto) is None else None
    if flaw is not None:
        return Failure("invalid", "", flaw), ""
    names = {value.name for value in proto.graph.input}
    samples = [{n: array for n, array in sample.items() if n in names} for sample in drawn.samples]
    try:
        actual = execute(proto, samples, reference=drawn.reference)
    except NoKernel:
        # Valid, and beyond what onnxruntime implements, as Where on int16.
        if _reference_agrees(drawn, proto, samples, fidelity):
            return None, "onnx.reference finds both alike"
        return None, "onnxruntime has no kernel for what was made"
    except Unrunnable as error:
        if drawn.reference:
            return None, "onnx.reference does not run what it was made"
        return Failure("invalid", "", f"does not run: {error}"), ""
    original = load(drawn.proto)
    roundoff = precision(original)
    if roundoff > _FLOAT32:
        # onnxruntime computes much of float16 in float32, and rounds to float16 where it happens to hand it over.
        fidelity = worst([fidelity, "rounding"])
    errors = compare(drawn.expected, actual)
    ok, words = holds(fidelity, errors, roundoff=roundoff)
    if ok:
        return None, ""
    if FIDELITIES.index(fidelity) > 0:
        try:
            floor = jitter(drawn.proto, drawn.samples, drawn.expected, reference=drawn.reference)
        except Unrunnable:
            floor = []
        if floor and holds(fidelity, errors, noise_floor=floor, roundoff=roundoff)[0]:
            return None, "ill-conditioned"
        if not drawn.reference and _sensitive(drawn, original, errors, fidelity):
            return None, "ill-conditioned"
        if all(error.max_abs_error < _NOTHING and not error.problem and not error.nonfinite for error in errors):
            return None, "less than a millionth"
    if drawn.reference:
        return Failure("wrong", "", words), ""
    if _reference_agrees(drawn, proto, samples, fidelity):
        return None, "onnx.reference finds both alike"
    return Failure("wrong", "", words), ""


def _sensitive(drawn: Drawn, original: ir.Model, errors: Sequence[OutputError], fidelity: Fidelity) -> bool:
    """Whether one unit in the last place of inputs and weights moves the outputs as far."""
    try:
        floor = noise_floor(original, drawn.samples, expected=[dict(one) for one in drawn.expected])
    except ExecutionFailed:
        return False
    return holds(fidelity, errors, noise_floor=floor, roundoff=precision(original))[0]


def _reference_agrees(drawn: Drawn, proto: Any, samples: Sequence[Any], fidelity: Fidelity) -> bool:
    """Whether onnxruntime is wrong about one of them; as `graphopt.verify.judge` asks, in this process."""
    try:
        before, after = (execute(one, samples, reference=True) for one in (drawn.proto, proto))
    except Unrunnable:
        return False
    return holds(fidelity, compare(before, after), roundoff=precision(load(drawn.proto)))[0]


def _blame(drawn: Drawn, applied: Sequence[Step], backend: Backend | None, failure: Failure) -> Failure:
    """The failure with the first pass after which it shows."""
    for count in range(1, len(applied) + 1):
        result = PassManager(applied[:count], verify="off").run(lambda: _loaded(drawn), _context(drawn, backend))
        found, _ = difference(drawn, result.model, worst([step.one.fidelity for step in applied[:count]]))
        if found is not None:
            return Failure(found.kind, applied[count - 1].one.name, found.words)
    return Failure(failure.kind, "the pipeline", failure.words)


def _loaded(drawn: Drawn) -> ir.Model:
    """The model with the types and shapes that a recipe's first passes infer; every third as the file has it."""
    model = load(drawn.proto)
    if drawn.seed % _BARE:
        infer_shapes(model)
    return model


def _context(drawn: Drawn, backend: Backend | None) -> Context:
    """Knows the sizes that the samples have, for passes that fix shapes."""
    return Context(backend=backend, dims={name: array.shape for name, array in drawn.samples[0].items()})


def _bytes(model: ir.Model) -> bytes:
    data: bytes = to_proto(model).SerializeToString(deterministic=True)
    return data
