"""A report as one page that needs nothing else: no network, no file beside it, and scripts for the graph alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from graphopt.report import charts, words
from graphopt.report.drawing import Drawing
from graphopt.report.embed import embed
from graphopt.report.model import Report, to_json
from graphopt.report.tiles import stages, tiles

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPTS = ("graph.js", "view.js", "details.js", "main.js")
_TOLD = 200
"""Rows of one list that the page shows; report.json has all of them."""


def render_html(report: Report, drawing: Drawing | None = None) -> str:
    """The page of `report`, as text. Every word of the report is escaped: names in a model may hold anything.

    Args:
        report: the record of the run.
        drawing: the graphs before and after; the page goes without them where None.
    """
    detail = to_json(report)["compile"].get("detail")
    passes = list(zip(report.passes, charts.bars(report.passes), strict=True))
    return _environment().get_template("report.html.j2").render(
        report=report,
        title=words.title(report),
        tiles=tiles(report),
        stages=stages(report),
        told=_TOLD,
        noteworthy=[(record, bar) for record, bar in passes if record.outcome != "unchanged"],
        unchanged=[(record, bar) for record, bar in passes if record.outcome == "unchanged"],
        removed=charts.removed(report.passes),
        pieces=charts.pieces(report),
        layers=charts.worst_first(report.layers),
        metrics=list(dict.fromkeys(metric for layer in report.layers for metric in layer.metrics)),
        rankings=[] if drawing is None else [
            (heading, show, charts.ranking(drawing.after, key))
            for heading, show, key in (("MACs", words.quantity, "macs"), ("Weights", words.size, "bytes"))
        ],
        compile_detail=json.dumps(detail, indent=2) if detail else "",
        graph="" if drawing is None else _script_json(embed(report, drawing)),
        counts=None if drawing is None else (len(drawing.before.nodes), len(drawing.after.nodes)),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("graphopt.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: tuple[Callable[..., Any], ...] = (
        words.agreement, words.change, words.duration, words.group, words.plural, words.printable,
        words.quantity, words.size, charts.coded, charts.outline, _number, _label, _figures, _name,
    )  # fmt: skip
    environment.filters.update({each.__name__.lstrip("_"): each for each in filters})
    environment.globals["style"] = Markup(_part("style.css"))
    environment.globals["script"] = Markup("\n".join(_part(name) for name in _SCRIPTS))
    return environment


def _part(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _script_json(data: Mapping[str, Any]) -> Any:
    """JSON that no text in it can end the element it stands in."""
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for one in "<>&":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return Markup(text)


def _number(value: float | None) -> str:
    return "—" if value is None or not math.isfinite(value) else f"{value:.4g}".replace("-", "−")


def _label(metric: str) -> str:
    """The name of a metric as a heading: sqnr_db is "SQNR dB"."""
    words_ = {"sqnr": "SQNR", "db": "dB", "macs": "MACs"}
    return " ".join(words_.get(word, word) for word in metric.split("_"))


def _name(path: str) -> str:
    """The last part of a path."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path


def _figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that are numbers, as texts."""
    return {name: _number(value) for name, value in metrics.items() if isinstance(value, int | float)}
