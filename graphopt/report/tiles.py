"""The page's first answers: four questions, each with one figure and one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.report import words
from graphopt.report.model import OutputError, Report
from graphopt.report.words import Tone

_NEAR_DB = 40.0
"""From where an output that is not the same is as good as the same: an error of 1 %."""

_FAR_DB = 20.0
"""Below which decibels are no answer: an output of zeros that is off by next to nothing has none."""


@dataclass(frozen=True)
class Tile:
    """A question, its answer as a figure, what stands behind it, and what to do where the answer is no."""

    question: str
    figure: str
    lines: tuple[str, ...] = ()
    tone: Tone = "plain"
    remedy: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage of the run whose outputs were compared with the original's."""

    name: str
    how: str
    outputs: tuple[OutputError, ...]


def tiles(report: Report) -> list[Tile]:
    """Will it run on the target? Smaller? Faster? How exact?"""
    found = [_deployable(report), _smaller(report), _faster(report), _exact(report)]
    return [tile for tile in found if tile is not None]


def stages(report: Report) -> list[Stage]:
    """The stages with outputs to show, in order."""
    verified, ran = report.verification, report.compile.execution
    samples = words.plural(verified.samples, f"{verified.inputs} sample")
    found = [Stage("Optimized model against the original", f"reference runtime, {samples}", verified.outputs)]
    found.append(Stage("Compiled model against the original", ran.runtime or "vendor's runtime", ran.outputs))
    return [stage for stage in found if stage.outputs]


def _deployable(report: Report) -> Tile | None:
    if report.support is None:
        return None
    question, before, after = f"Runs on {report.backend}?", report.support.before, report.support.after
    was = f"{before.supported} of {before.nodes} nodes before"
    if after is None:
        return Tile(question, "Unknown", ("The run ended before the answer.", was), "bad")
    now = f"{after.supported} of {words.plural(after.nodes, 'node')}"
    compiled, left = report.compile, words.group(after.unsupported)
    remedy = left[0].remedy if left else ""
    if compiled.status == "failed":
        lines = (f"{compiled.toolchain} refuses it, as said above", f"{now} by the support table")
        return Tile(question, "No", lines, "bad", remedy)
    if not after.whole:
        told = tuple(f"{len(one.nodes)} × {one.op_type or 'model'}: {one.reason}" for one in left[:1])
        return Tile(question, "Not wholly", (now, *told), "bad", remedy)
    if compiled.execution.status == "failed":
        return Tile(question, "Wrongly", (f"It compiles, and disagrees: {compiled.execution.reason}",), "bad")
    how = f"compiled by {compiled.toolchain}" if compiled.status == "ok" else "by the support table, not compiled"
    return Tile(question, "Yes", (f"all {words.plural(after.nodes, 'node')}, {how}", was), "good")


def _smaller(report: Report) -> Tile | None:
    before, after = report.input, report.output
    if after is None:
        return None
    size = f"{words.size(before.bytes)} → {words.size(after.bytes)}"
    parameters = f"{words.quantity(before.parameters)} → {words.quantity(after.parameters)} parameters"
    compiled = (f"compiled {words.size(report.compile.bytes)}",) if report.compile.bytes else ()
    tone: Tone = "good" if after.bytes < before.bytes else "plain"
    return Tile("Smaller?", _moved(before.bytes, after.bytes), (size, parameters, *compiled), tone)


def _faster(report: Report) -> Tile | None:
    before, after, speed = report.input, report.output, report.speed
    if after is None:
        return None
    lines = []
    for name, show, old, new in (
        ("MACs", words.quantity, before.macs, after.macs),
        ("moved", words.size, before.moved_bytes, after.moved_bytes),
    ):
        if old is not None and new is not None:
            lines.append(f"{show(old)} → {show(new)} {name} ({words.change(old, new) or 'new'})")
    if speed is not None and speed.optimized_ms > 0:
        lines.insert(0, f"{speed.original_ms:.3g} → {speed.optimized_ms:.3g} ms in {speed.runtime}")
        ratio = speed.original_ms / speed.optimized_ms
        return Tile("Faster?", f"{ratio:.2f}×", tuple(lines), "good" if ratio > 1 else "bad")
    lines.append(f"{before.nodes} → {words.plural(after.nodes, 'node')}")
    known = before.moved_bytes is not None and after.moved_bytes is not None
    figure = _moved(before.moved_bytes or 0, after.moved_bytes or 0) if known else _moved(before.nodes, after.nodes)
    what = f"{figure} of {'bytes moved' if known else 'nodes'}; not timed here"
    return Tile("Less work?", figure, (*lines, what), "good" if figure.startswith("−") else "plain")


def _exact(report: Report) -> Tile:
    verified, ran = report.verification, report.compile.execution
    if verified.status == "skipped" and not ran.outputs:
        return Tile("How exact?", "Not verified", (verified.detail,) if verified.detail else ())
    lines = []
    for stage in stages(report):
        low = words.worst(stage.outputs)
        if low is not None:
            error = f", largest error {low.max_abs_error:.2g}" if low.max_abs_error else ""
            which = "optimized" if stage.outputs is verified.outputs else "compiled"
            lines.append(f"{which}: {words.agreement(low)}{error}")
    low = words.worst((*verified.outputs, *ran.outputs))
    failed = verified.status == "failed" or ran.status == "failed"
    figure = "Wrong" if failed else _nearness(low)
    if failed:
        lines.insert(0, verified.detail if verified.status == "failed" else ran.reason)
    tone: Tone = "good" if low is not None and low.decibels >= _NEAR_DB else "plain"
    lines.append(f"worst output over {words.plural(verified.samples, f'{verified.inputs} sample')}")
    return Tile("How exact?", figure[:1].upper() + figure[1:], tuple(lines), "bad" if failed else tone)


def _nearness(low: OutputError | None) -> str:
    """Decibels where they say something; of outputs that are themselves next to nothing the error says more."""
    if low is None:
        return "Verified"
    far = low.decibels < _FAR_DB and low.max_abs_error
    return f"off by {low.max_abs_error:.2g}".replace("-", "−") if far else words.agreement(low)


def _moved(before: float, after: float) -> str:
    told = words.change(before, after)
    return "Same" if told == "unchanged" else told or "New"
