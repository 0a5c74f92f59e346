"""A report as one page that needs nothing else: no network, no file beside it, no script to read it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from graphopt.report import words
from graphopt.report.model import PassRecord, Report, to_json

if TYPE_CHECKING:
    from jinja2 import Template


def render_html(report: Report) -> str:
    """The page of `report`, as text. Every word of the report is escaped: names in a model may hold anything."""
    detail = to_json(report)["compile"].get("detail")
    passes = list(zip(report.passes, _bars(report.passes), strict=True))
    return _template().render(
        report=report,
        answers=words.answers(report),
        noteworthy=[(record, bar) for record, bar in passes if record.outcome != "unchanged"],
        unchanged=[(record, bar) for record, bar in passes if record.outcome == "unchanged"],
        compile_detail=json.dumps(detail, indent=2) if detail else "",
        metrics=sorted({metric for layer in report.layers for metric in layer.metrics}),
        title=words.title(report),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters: tuple[Callable[..., Any], ...] = (
        words.agreement, words.change, words.duration, words.group, words.plural, words.printable,
        words.quantity, words.size, _number,
    )  # fmt: skip
    environment.filters.update({each.__name__.lstrip("_"): each for each in filters})
    return environment.from_string(files(__package__).joinpath("template.html.j2").read_text(encoding="utf-8"))


def _number(value: float | None) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _bars(passes: Sequence[PassRecord]) -> list[dict[str, float]]:
    """Where the bars of each pass lie, in percent of the widest.

    `kept` nodes stayed, `gone` left, `new` came; `start` and `time` place the pass on the time line of all passes.
    """
    most = max((max(record.nodes_before, record.nodes_after) for record in passes), default=0) or 1
    total = sum(record.seconds for record in passes) or 1.0
    starts = accumulate((record.seconds for record in passes), initial=0.0)
    bars = []
    for record, start in zip(passes, starts, strict=False):
        before, after = record.nodes_before, record.nodes_after
        bar = {"kept": min(before, after) / most, "gone": max(before - after, 0) / most}
        bar |= {"new": max(after - before, 0) / most, "start": start / total, "time": record.seconds / total}
        bars.append({part: 100 * share for part, share in bar.items()})
    return bars
