"""A report's numbers in words, the same for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from graphopt.report.model import Finding, OutputError, PassRecord, Report

_OPERATORS = 3
"""How many operators are named of a trouble that several have."""
Tone = Literal["good", "bad", "plain"]


@dataclass(frozen=True)
class Answer:
    """One line of the summary: what was asked, the answer, and whether that is good news."""

    topic: str
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class FindingGroup:
    """Nodes with the same operator and the same trouble."""

    op_type: str
    reason: str
    evidence: str
    remedy: str
    nodes: tuple[str, ...]


def printable(text: str) -> str:
    """`text` on one line, its control characters escaped: a node's name may hold anything, even a terminal's commands.

    Line breaks and tabs, as in a vendor's message, become spaces.
    """
    line = " ".join(text.splitlines()).replace("\t", " ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def size(count: float) -> str:
    """A number of bytes in decimal units, as "18.6 MB"."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB" if count < 999.5 else f"{count:.0f} GB"


def quantity(count: float) -> str:
    """A large count in decimal steps, as "4.65 M"."""
    if count < 10_000:
        return f"{count:.0f}"
    for unit in ("k", "M", "G"):
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} T"


def duration(seconds: float) -> str:
    """A time in the unit that fits, as "80 ms", "1.9 s" or "2 min 05 s"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00095 or seconds == 0 else "<1 ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def change(before: float, after: float) -> str:
    """The relative change, as "−71 %"; "unchanged" where nothing moved, "" where it cannot be said."""
    if before == after:
        return "unchanged"
    if before == 0:
        return ""
    percent = 100 * (after - before) / before
    digits = 0 if abs(percent) >= 10 else 1
    if abs(percent) < 0.05:
        return "−<0.1 %" if percent < 0 else "+<0.1 %"
    return f"{percent:+.{digits}f} %".replace("-", "−")


def arrow(before: float, after: float, unit: str = "") -> str:
    """Before and after, as "412 → 118 nodes (−71 %)"."""
    moved = change(before, after)
    return f"{before} → {after}{unit}" + (f" ({moved})" if moved else "")


def agreement(output: OutputError) -> str:
    """How near an output is to the original's: "exact", "92.1 dB", or what keeps it from being either."""
    decibels = output.decibels
    if decibels == math.inf:
        return "exact"
    if decibels != -math.inf:
        return f"{decibels:.1f} dB"
    error = output.max_abs_error
    return "not finite" if error is None or not math.isfinite(error) else f"error up to {error:.2g}"


def worst(outputs: Iterable[OutputError]) -> OutputError | None:
    """The output that is furthest from the original's, None where there is none."""
    return min(outputs, key=lambda output: output.decibels, default=None)


def plural(count: int, noun: str) -> str:
    """A count and its noun, as "1 node" or "3 nodes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def group(findings: Sequence[Finding]) -> tuple[FindingGroup, ...]:
    """Findings with the same cause together, the most frequent first."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for found in findings:
        groups.setdefault((found.op_type, found.reason, found.evidence, found.remedy), []).append(found.node)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(FindingGroup(*cause, nodes=tuple(nodes)) for cause, nodes in ordered)


HARM = ("wrong result", "crash", "hang")
"""What a vendor may do that is worse than to refuse, as evidence begins."""


def across_operators(groups: Sequence[FindingGroup]) -> tuple[FindingGroup, ...]:
    """Groups with the same reason and remedy as one, their operators named together; the evidence is the first's."""
    merged: dict[tuple[str, str, str], list[FindingGroup]] = {}
    for found in groups:
        harm = next((effect for effect in HARM if found.evidence.startswith(effect)), "")
        merged.setdefault((found.reason, found.remedy, harm), []).append(found)
    together = []
    for same in merged.values():
        names = list(dict.fromkeys(found.op_type for found in same))
        told = ", ".join(names[:_OPERATORS]) + (
            f" and {len(names) - _OPERATORS} more" if len(names) > _OPERATORS else ""
        )
        nodes = tuple(name for found in same for name in found.nodes)
        together.append(replace(same[0], op_type=told, nodes=nodes))
    return tuple(sorted(together, key=lambda found: -len(found.nodes)))


def title(report: Report) -> str:
    """What was run on what, as "model.onnx → tflite"."""
    return f"{report.input.path} → {report.backend or 'ONNX'}"


def noteworthy(passes: Iterable[PassRecord]) -> list[PassRecord]:
    """The passes that changed the model or tried to."""
    return [record for record in passes if record.outcome != "unchanged"]


def answers(report: Report) -> list[Answer]:
    """Will it run wholly on the target? Is it smaller, faster, how exact? What did the vendor's own tools say?"""
    lines = [_on_target(report), *_against_original(report), _exactness(report), _compilation(report)]
    lines.append(_execution(report))
    return [line for line in lines if line]


def _on_target(report: Report) -> Answer | None:
    if report.support is None:
        return None
    before, after = report.support.before, report.support.after
    if after is None:
        return Answer("on target", f"unknown; {before.supported} of {before.nodes} nodes of the original", "bad")
    was = f"(original: {before.supported} of {before.nodes})"
    if report.compile.status == "failed":
        table = f"{after.supported} of {after.nodes} nodes by the support table"
        return Answer("on target", f"no: the compiler refused; {table} {was}", "bad")
    if not after.whole:
        return Answer("on target", f"no: {after.supported} of {after.nodes} nodes {was}", "bad")
    if report.compile.issues:
        return Answer("on target", f"in part: the compiler named {plural(len(report.compile.issues), 'issue')}", "bad")
    measured = "compiled" if report.compile.status == "ok" else "by the support table, not compiled"
    return Answer("on target", f"yes: all {plural(after.nodes, 'node')}, {measured} {was}", "good")


def _against_original(report: Report) -> list[Answer]:
    lines = []
    before, after = report.input, report.output
    if after is not None:
        smaller: Tone = "good" if after.bytes < before.bytes else "plain"
        moved = change(before.bytes, after.bytes)
        lines.append(Answer("smaller", f"{size(before.bytes)} → {size(after.bytes)} ({moved})", smaller))
    if report.speed:
        old, new = report.speed.original_ms, report.speed.optimized_ms
        text = f"{old / new:.2f}× on {report.speed.runtime}: {old:.3g} → {new:.3g} ms" if new > 0 else "not timed"
        lines.append(Answer("faster", text, "good" if new < old else "bad"))
    elif after is not None:
        lines.append(Answer("faster", f"not timed; {arrow(before.nodes, after.nodes, ' nodes')}{_work(report)}"))
    return lines


def _work(report: Report) -> str:
    """What legalization did to the work of one inference, as far as it was counted."""
    told = ""
    for record in report.passes:
        held = record.metrics
        if held.get("macs_before"):
            old, new = held["macs_before"], held["macs_after"]
            told += f"; {record.name}: {quantity(old)} → {quantity(new)} MACs ({change(old, new)})"
        if held.get("moved_bytes_before"):
            old, new = held["moved_bytes_before"], held["moved_bytes_after"]
            told += f", {size(old)} → {size(new)} moved ({change(old, new)})"
    return told


def _exactness(report: Report) -> Answer:
    verification = report.verification
    if verification.status == "skipped":
        return Answer("agrees", f"not verified{_because(verification.detail)}")
    samples = plural(verification.samples, f"{verification.inputs} sample")
    over = f"{plural(len(verification.outputs), 'output')}, {samples}"
    passed = verification.status == "passed"
    lossy = any(record.fidelity == "lossy" and record.outcome == "applied" for record in report.passes)
    verified = "lossy as declared" if lossy else "verified"
    text = f"{verified if passed else 'verification failed'}{_at_worst(verification.outputs)} ({over})"
    return Answer("agrees", text + _because(verification.detail), "good" if passed else "bad")


def _compilation(report: Report) -> Answer | None:
    compiled = report.compile
    by = compiled.toolchain or "the vendor's compiler"
    if compiled.status == "skipped":
        return Answer("compiled", "not asked for") if report.backend else None
    if compiled.status == "failed":
        count = plural(len(compiled.issues), "complaint")
        return Answer("compiled", f"refused by {by} after {duration(compiled.seconds)}, {count}", "bad")
    return Answer("compiled", f"{size(compiled.bytes)} by {by} in {duration(compiled.seconds)}", "good")


def _execution(report: Report) -> Answer | None:
    if report.compile.status != "ok":
        return None
    execution = report.compile.execution
    where = execution.runtime or "the vendor's runtime"
    if execution.status == "unavailable":
        return Answer("executed", f"not here{_because(execution.reason)}")
    if execution.status == "failed":
        return Answer("executed", f"{where} disagrees{_at_worst(execution.outputs)}{_because(execution.reason)}", "bad")
    return Answer("executed", f"{where} agrees with the original{_at_worst(execution.outputs)}", "good")


def _at_worst(outputs: Iterable[OutputError]) -> str:
    low = worst(outputs)
    if low is None:
        return ""
    return ", exact" if low.decibels == math.inf else f", {agreement(low)} at worst"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
