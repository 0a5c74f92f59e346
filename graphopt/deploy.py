"""Give a model to a vendor's compiler, run what it made where that runs here, and compare with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import onnx_ir as ir

from graphopt.errors import GraphoptError, MissingExtraError, UserError
from graphopt.report.model import Compile, Execution, Finding, OutputError
from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue

if TYPE_CHECKING:
    import numpy as np

_LOSSY_SLACK_DB = 1.0
"""How much further from the original than a lossy model itself its artifact may be."""
_SLACK_DB = 12.0
"""How much worse than rounding inputs and weights once a runtime may be that rounds after every layer."""


def require(target: Backend) -> None:
    """Make sure that a backend can compile here.

    Raises:
        MissingExtraError: the vendor's package is not installed; the message is the command that installs it.
        UserError: the backend has no compiler.
    """
    if target.toolchain() is None:
        if not target.extra:
            raise UserError(f"{target.title} is known by its table alone and compiles nothing: give --no-compile")
        raise MissingExtraError(target.title, target.extra)


def deploy(
    target: Backend,
    model: Path,
    artifact: Path,
    *,
    original: Callable[[], ir.Model],
    samples: Sequence[Mapping[str, np.ndarray]],
    targets: Sequence[str] = (),
    timeout: float = 600.0,
    lossy: bool = False,
) -> Compile:
    """Compile, execute, compare.

    Args:
        target: the backend.
        model: the optimized .onnx file.
        artifact: the file to write.
        original: gives the model that the user started from.
        samples: inputs to compare on; none are executed where there are none.
        targets: chips to compile for.
        timeout: seconds for the compiler, and again for the runtime.
        lossy: whether passes changed what the model computes: then the artifact need only be as near to the original
            as the optimized model is.

    Raises:
        MissingExtraError: the vendor's package is not installed.
    """
    require(target)
    compiled = _compile(target, model, artifact, targets, timeout)
    executed = Execution()
    if compiled.status == "ok":
        executed = _execute(target, compiled, model, original, samples[: target.execution_samples], timeout, lossy)
    issues = tuple(Finding(node=i.node, op_type=i.op_type, reason=i.reason) for i in compiled.issues)
    return Compile(
        status=compiled.status,
        toolchain=compiled.toolchain,
        artifact=str(compiled.artifact) if compiled.artifact is not None else None,
        bytes=compiled.bytes,
        seconds=compiled.seconds,
        execution=executed,
        issues=issues,
        detail=dict(compiled.detail),
    )


def _compile(target: Backend, model: Path, artifact: Path, targets: Sequence[str], timeout: float) -> CompileResult:
    try:
        return target.compile(model, artifact, targets=targets, timeout=timeout)
    except GraphoptError:
        raise
    except Exception as error:  # noqa: BLE001 (a stranger's backend may raise anything; the run has its report)
        return CompileResult("failed", target.toolchain() or target.name, issues=(NodeIssue("", "", _words(error)),))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]


def _execute(
    target: Backend,
    compiled: CompileResult,
    path: Path,
    original: Callable[[], ir.Model],
    samples: Sequence[Mapping[str, np.ndarray]],
    timeout: float,
    lossy: bool,
) -> Execution:
    """Run the artifact in the vendor's runtime and compare with the original in onnxruntime."""
    if not samples:
        return Execution(status="unavailable", reason="there are no sample inputs")
    try:
        answer = target.execute(compiled, path, samples, timeout=timeout)
    except GraphoptError:
        raise
    except Exception as failure:  # noqa: BLE001 (a stranger's backend may raise anything; the run has its report)
        answer = ExecutionResult("failed", reason=_words(failure))
    if answer.status != "ok":
        status: Literal["failed", "unavailable"] = "failed" if answer.status == "failed" else "unavailable"
        return Execution(status=status, runtime=answer.runtime, reason=answer.reason)
    from graphopt.verify import ExecutionFailed, answers, compare, natural_scale, noise_floor

    reference = original()
    try:
        expected = answers(reference, samples)
    except ExecutionFailed as failure:
        reason = f"there is nothing to compare with: {failure}"
        return Execution(status="unavailable", runtime=answer.runtime, reason=reason)
    errors = compare(expected, [dict(s) for s in answer.samples])
    outputs = tuple(error_record(e) for e in errors)
    scales = {value.name: natural_scale(value) for value in reference.graph.outputs}
    allowed = 10 ** (-target.tolerance_db / 20)
    worst = [
        e
        for e in errors
        if e.problem or (e.sqnr_db < target.tolerance_db and e.max_abs_error > allowed * (scales.get(e.name) or 0))
    ]
    if worst and lossy:
        made = {e.name: e for e in compare(expected, answers(ir.load(path), samples))}
        worst = [e for e in worst if e.problem or e.sqnr_db < made[e.name].sqnr_db - _LOSSY_SLACK_DB]
    if not worst:
        reason = "as near to the original as the optimized model is" if lossy else ""
        return Execution(status="passed", outputs=outputs, runtime=answer.runtime, reason=reason)
    # A model may amplify the roundings of the target's arithmetic: then no runtime of that precision can do better.
    roundoff = max(target.roundoff, _code_roundoff(reference))
    try:
        moved = noise_floor(reference, samples, expected=expected, roundoff=roundoff)
    except ExecutionFailed:
        moved = []  # onnxruntime does not run it, so how the model amplifies errors is not known
    floor = {e.name: e for e in moved}
    for error in worst:
        own = floor.get(error.name)
        if error.problem or own is None or error.sqnr_db < own.sqnr_db - _SLACK_DB:
            why = error.problem or f"{error.sqnr_db:.1f} dB, below {target.tolerance_db:.0f} dB"
            return Execution(status="failed", outputs=outputs, runtime=answer.runtime, reason=f"{error.name}: {why}")
    reason = "within what the target's precision does to this model on these inputs"
    return Execution(status="passed", outputs=outputs, runtime=answer.runtime, reason=reason)


def _code_roundoff(model: ir.Model) -> float:
    """Half a code's share of its range, of the shortest codes that a quantized model computes with; 0 of others."""
    bits = [
        value.dtype.bitwidth
        for node in model.graph.all_nodes()
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") or node.op_type.startswith("QLinear")
        for value in node.outputs[:1]
        if value.dtype is not None
    ]
    return 2.0 ** -(min(bits) + 1) if bits else 0.0


def error_record(error: Any) -> OutputError:
    """One output's error, from `graphopt.verify` into the report's words."""
    return OutputError(
        name=error.name, max_abs_error=error.max_abs_error, max_rel_error=error.max_rel_error, cosine=error.cosine,
        sqnr_db=error.sqnr_db,
    )  # fmt: skip
