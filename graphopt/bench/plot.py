"""A benchmark as a picture: a lane a model, a dot a round, and a bar from zero to the median."""

from __future__ import annotations

import math
from importlib.resources import files

from graphopt.bench.compare import Comparison
from graphopt.bench.measure import Benchmark, Timing
from graphopt.bench.terminal import time
from graphopt.report import words

_WIDTH, _LANE = 720.0, 64.0
_TICKS = 5


def draw(found: Benchmark) -> str:
    """The SVG of a benchmark; it needs nothing else, and follows a dark page."""
    from jinja2 import Environment, StrictUndefined

    most = max(max(one.median, *(turn for process in one.rounds for turn in process)) for one in found.timings)
    step = _step(most / _TICKS)
    end = step * math.ceil(most / step)
    comparisons: list[Comparison | None] = [None, *found.comparisons]
    lanes = [
        _lane(one, comparison, place, end)
        for place, (one, comparison) in enumerate(zip(found.timings, comparisons, strict=True))
    ]
    ticks = [
        (_x(step * number, end), time(step * number) if number else "0") for number in range(round(end / step) + 1)
    ]
    template = files(__package__).joinpath("plot.svg.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        lanes=lanes, ticks=ticks, width=_WIDTH, height=_LANE * len(lanes), threads=words.plural(found.threads, "thread")
    )


def _lane(timing: Timing, comparison: Comparison | None, place: int, end: float) -> dict[str, object]:
    middle = _LANE * place + 42
    rounds = [turn for process in timing.rounds for turn in process]
    dots = [
        (_x(seconds, end), middle - 8 + 16 * number / max(len(rounds) - 1, 1)) for number, seconds in enumerate(rounds)
    ]
    return {
        "name": words.printable(timing.path), "runtime": timing.runtime, "y": middle, "median": time(timing.median),
        "width": _x(timing.median, end), "dots": dots,
        "verdict": comparison.reason if comparison else "", "kind": comparison.verdict if comparison else "",
    }  # fmt: skip


def _x(seconds: float, end: float) -> float:
    return round(_WIDTH * seconds / end, 1) if end else 0.0


def _step(least: float) -> float:
    """The round number at or above `least`: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
