"""Is the optimized model still the original? Decide it by the fidelity that was promised.

    exact      bitwise equal outputs
    rounding   every output keeps 55 % of the significant bits of the type computed in: an SQNR of 80 dB in float32,
               36 dB in float16, 26 dB in bfloat16; or, where the model itself amplifies rounding more than that, it
               moves at most four times as far as one unit in the last place of inputs and weights moves it
    lossy      the same shapes and types, and no NaN or infinity that was not there: how good it is, its report tells

onnxruntime may be wrong about the original (it is on some float16 overflows) or round two equal graphs differently.
So before a model fails, onnx.reference is asked: where it finds the promise kept, and where it sides with what
onnxruntime computed from the optimized model, the model passes and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import onnx_ir as ir

from graphopt.verify.conditioning import noise_floor, precision
from graphopt.verify.execute import ExecutionFailed, Runner, TooMuch, run
from graphopt.verify.metrics import LIMIT_DB, OutputError, compare, is_float, unit_roundoff
from graphopt.verify.oracle import run_reference
from graphopt.verify.types import Array, Sample

Fidelity: TypeAlias = Literal["exact", "rounding", "lossy"]

ROUNDING_DB = 80.0
FLOAT32_ROUNDOFF = 2.0**-24
FACTOR = 4.0


@dataclass(frozen=True)
class Verification:
    """The verdict on one optimized model.

    Attributes:
        status: "passed", "failed", or "skipped" where no verdict is possible.
        errors: one record an output, of onnxruntime against onnxruntime.
        reason: one sentence, "" where the model simply passed.
        oracle: who decided: "onnxruntime", "onnx.reference" or "none".
        samples: on how many samples.
    """

    status: Literal["passed", "failed", "skipped"]
    errors: tuple[OutputError, ...] = ()
    reason: str = ""
    oracle: Literal["onnxruntime", "onnx.reference", "none"] = "none"
    samples: int = 0


def threshold_db(roundoff: float) -> float:
    """The SQNR that a reassociation must leave, for a type with this unit roundoff: 80 dB scaled by the bits."""
    return ROUNDING_DB * math.log(roundoff) / math.log(FLOAT32_ROUNDOFF)


def holds(
    fidelity: Fidelity,
    errors: Sequence[OutputError],
    *,
    noise_floor: Sequence[OutputError] | None = None,
    roundoff: float = FLOAT32_ROUNDOFF,
) -> tuple[bool, str]:
    """Tell whether the errors are within what a fidelity promises.

    Args:
        fidelity: the promise.
        errors: as `compare` returns them.
        noise_floor: what one unit in the last place does to the same outputs, as `noise_floor` returns it.
        roundoff: of the coarsest type that the model computes in, see `precision`; an output of a coarser type counts
            with its own.

    Returns:
        The answer, and one clause for each output that breaks the promise.
    """
    floors = {error.name: error for error in noise_floor or ()}
    broken = [
        f"output {error.name!r}: {clause}"
        for error in errors
        if (clause := _broken(fidelity, error, floors.get(error.name), roundoff))
    ]
    return not broken, "; ".join(broken)


def judge(
    original: ir.Model,
    optimized: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    fidelity: Fidelity,
    *,
    expected: Sequence[Sample] | None = None,
) -> Verification:
    """Execute both models on the same samples and decide whether the fidelity was kept.

    Args:
        original: the model before; left as it is.
        optimized: the model after; left as it is.
        samples: inputs, as `generate` or `load` give them.
        fidelity: what was promised.
        expected: the outputs of the original on the samples, where they are already known.

    Returns:
        The verdict. Where onnxruntime cannot run the original, onnx.reference runs both; where that cannot either, the
        verdict is "skipped". Where only the optimized one cannot be run, it is "failed". Outputs that the
        original itself does not repeat (random operators) are left out.
    """
    if not samples:
        return Verification("skipped", reason="there is no sample to compare the models on")
    try:
        expected = run(original, samples) if expected is None else expected
    except TooMuch as error:
        return Verification("skipped", reason=str(error))
    except ExecutionFailed as error:
        return _by_reference(original, optimized, samples, fidelity, error)
    try:
        actual = run(optimized, samples)
    except ExecutionFailed as error:
        reason = f"the optimized model cannot be executed: {error.reason}"
        return Verification("failed", reason=reason, oracle="onnxruntime", samples=len(samples))
    verdict = Verification("passed", tuple(compare(expected, actual)), "", "onnxruntime", len(samples))
    roundoff = precision(original)
    ok, reason = holds(fidelity, verdict.errors, roundoff=roundoff)
    if ok:
        return verdict

    random = _unrepeated(original, samples)
    errors = [error for error in verdict.errors if error.name not in random]
    if random and not errors:
        return replace(verdict, status="skipped", reason="every output of the original differs from run to run")
    ok, reason = holds(fidelity, errors, roundoff=roundoff)
    if ok:
        return replace(verdict, reason=f"left out what the original does not repeat: {', '.join(sorted(random))}")
    floor = _floor(original, samples, expected) if fidelity == "rounding" else []
    if floor and holds(fidelity, errors, noise_floor=floor, roundoff=roundoff)[0]:
        return replace(verdict, reason="within the model's own sensitivity to rounding")
    if any(error.problem for error in errors):
        return replace(verdict, status="failed", reason=reason)
    doubtful = [
        place
        for place, (left, right) in enumerate(zip(expected, actual, strict=True))
        if not holds(fidelity, compare(left, right), roundoff=roundoff)[0]
    ] or range(len(samples))
    asked, answered = [samples[place] for place in doubtful], [actual[place] for place in doubtful]
    second = _second_opinion(original, optimized, asked, answered, fidelity)
    if second:
        return replace(verdict, reason=second, oracle="onnx.reference")
    return replace(verdict, status="failed", reason=reason)


def _by_reference(
    original: ir.Model,
    optimized: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    fidelity: Fidelity,
    refused: ExecutionFailed,
) -> Verification:
    """The verdict of onnx.reference alone, on models that onnxruntime does not run."""
    try:
        before = run_reference(original, samples)
    except ExecutionFailed as error:
        return Verification("skipped", reason=f"the original cannot be executed: {refused.reason}; {error.reason}")
    try:
        after = run_reference(optimized, samples)
    except ExecutionFailed as error:
        reason = f"the optimized model cannot be executed: {error.reason}"
        return Verification("failed", reason=reason, oracle="onnx.reference", samples=len(samples))
    errors = tuple(compare(before, after))
    ok, reason = holds(fidelity, errors, roundoff=precision(original))
    note = f"onnxruntime cannot run the original: {refused.reason}"
    return Verification("passed" if ok else "failed", errors, note if ok else reason, "onnx.reference", len(samples))


def _unrepeated(model: ir.Model, samples: Sequence[Mapping[str, Array]]) -> set[str]:
    """The outputs that change when the same samples run again: what a generator of random numbers reaches."""
    runner = Runner(model)  # one session: a new one would start its generators alike
    once, twice = ([runner.run(sample) for sample in samples] for _ in range(2))
    return {error.name for error in compare(once, twice) if not error.equal}


def _second_opinion(
    original: ir.Model,
    optimized: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    actual: Sequence[Sample],
    fidelity: Fidelity,
) -> str:
    """Why the optimized model is right after all, or "" where onnx.reference does not say so."""
    try:
        before, after = run_reference(original, samples), run_reference(optimized, samples)
    except ExecutionFailed:
        return ""
    roundoff = precision(original)
    kept, _ = holds(fidelity, compare(before, after), roundoff=roundoff)
    sides, _ = holds("rounding", compare(before, actual), roundoff=roundoff)
    if not kept or not sides:
        return ""
    return "onnx.reference finds both models alike and sides with the optimized one against onnxruntime's original"


def _broken(fidelity: Fidelity, error: OutputError, floor: OutputError | None, roundoff: float) -> str:
    if error.problem:
        return error.problem
    if error.equal:
        return ""
    if fidelity == "exact":
        zeros = f", {error.signed_zeros} zeros changed sign" if error.signed_zeros else ""
        return f"not bitwise equal (largest error {error.max_abs_error:.3g}{zeros})"
    if error.nonfinite and not (floor and floor.nonfinite):
        return f"{error.nonfinite} elements are NaN or infinite in only one of the models"
    if fidelity == "lossy":
        return ""
    if not is_float(error.dtype):
        allowed = FACTOR * (1 - floor.match) if floor else 0.0
        return f"{1 - error.match:.2%} of the elements differ" if 1 - error.match > allowed else ""
    needed = threshold_db(max(roundoff, unit_roundoff(error.dtype)))
    if floor:
        needed = min(needed, floor.sqnr_db - 20 * math.log10(FACTOR))
    return f"{error.sqnr_db:.1f} dB, below {max(needed, -LIMIT_DB):.1f} dB" if error.sqnr_db < needed else ""


def _floor(model: ir.Model, samples: Sequence[Mapping[str, Array]], expected: Sequence[Sample]) -> list[OutputError]:
    try:
        floor = noise_floor(model, samples, expected=expected)
    except ExecutionFailed:
        return []  # a model that fails on its neighbors' inputs gives no excuse
    return [error for error in floor if not error.problem]
