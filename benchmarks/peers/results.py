"""Results of the comparison: one JSON file a model, a table on the terminal, a page of Markdown."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contenders import OURS, RIVALS
from rich.console import Console
from rich.table import Table

WRONG = 1e-3
"""Relative difference of an output beyond which a result is not the same model any more."""


def plain(words: str) -> str:
    """A message without the folders in it, which mean nothing on another machine."""
    return re.sub(r"(?<![\w:/.])/(?:[^/\s]+/)+", "", words)


def read(folder: Path) -> list[dict[str, Any]]:
    """All results in a folder, by name of the model."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def right(entry: dict[str, Any] | None) -> bool:
    """Whether a tool gave a model that computes the same, as far as that could be seen."""
    return bool(entry) and not entry["error"] and not (entry.get("relative") or 0) > WRONG and not entry.get("broken")


def best_peer(result: dict[str, Any]) -> int | None:
    """The fewest nodes that any peer's right result has."""
    counts = [e["nodes"] for name, e in result["tools"].items() if name != OURS and right(e)]
    return min(counts, default=None)


def time_ratio(result: dict[str, Any], measure: str = "seconds") -> float | None:
    """Our time ÷ the faster rival's, the median of the repetitions."""
    ours = result["tools"].get(OURS)
    rivals = [result["tools"][name] for name in RIVALS if right(result["tools"].get(name))]
    if not right(ours) or not rivals:
        return None
    rounds = zip(ours[measure], *(rival[measure] for rival in rivals), strict=False)
    return statistics.median(mine / min(theirs) for mine, *theirs in rounds)


def geometric_mean(values: Iterable[float]) -> float:
    """The number whose logarithm is the mean of the logarithms; NaN of none."""
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def summary(results: list[dict[str, Any]]) -> list[str]:
    """What it comes to, a line each."""
    ours = [(r["model"], r["tools"][OURS]) for r in results if OURS in r["tools"]]
    failed = [name for name, entry in ours if not right(entry)]
    more = [
        f"{r['model']} +{r['tools'][OURS]['nodes'] - best}" for r in results
        if right(r["tools"].get(OURS)) and (best := best_peer(r)) is not None and r["tools"][OURS]["nodes"] > best
    ]  # fmt: skip
    lines = [
        f"{len(ours)} models; not right in graphopt's form: {', '.join(failed) or 'none'}",
        f"more nodes than the best peer: {', '.join(more) or 'none'}",
    ]
    for measure, words in (("seconds", "seconds of the whole process"), ("cpu", "seconds of processors")):
        ratios = {r["model"]: ratio for r in results if (ratio := time_ratio(r, measure)) is not None}
        if ratios:
            worst = max(ratios, key=ratios.__getitem__)
            mean = geometric_mean(ratios.values())
            lines.append(
                f"{words}, graphopt ÷ the faster of {' and '.join(RIVALS)}: {mean:.2f} in geometric mean, "
                f"{ratios[worst]:.2f} at worst ({worst})"
            )
    for name in {name: None for r in results for name in r["tools"]}:
        entries = [r["tools"][name] for r in results if name in r["tools"]]
        bad = sum(not right(entry) for entry in entries)
        peak = max((entry["peak"] for entry in entries if entry["peak"]), default=0)
        lines.append(f"{name}: {len(entries) - bad} of {len(entries)} right, at most {peak / 1e6:.0f} MB resident")
    return lines


def rows(results: list[dict[str, Any]], names: list[str]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the table: nodes of each tool, our bytes, seconds, memory and difference."""
    titles = ["model", "nodes", *names, "bytes", "seconds", "÷ rival", "MB", "difference"]
    cells = []
    for result in results:
        ours = result["tools"].get(OURS)
        best = best_peer(result)
        nodes = []
        for name in names:
            entry = result["tools"].get(name)
            mark = "+" if name == OURS and best is not None and right(entry) and entry["nodes"] > best else ""
            nodes.append("" if entry is None else f"{entry['nodes']}{mark}" if right(entry) else "✗")
        if ours is None or not right(ours):
            more = [""] * 5
        else:
            ratio, relative = time_ratio(result), ours.get("relative")
            more = [
                f"{ours['bytes'] / result['bytes']:.3f}",
                f"{statistics.median(ours['seconds']):.2f}",
                "" if ratio is None else f"{ratio:.2f}",
                f"{ours['peak'] / 1e6:.0f}",
                "–" if relative is None else f"{relative:.1e}" if relative else "0",
            ]
        cells.append([result["model"], str(result["nodes"]), *nodes, *more])
    return titles, cells


def show(results: list[dict[str, Any]], names: list[str]) -> None:
    """Print the table and what it comes to."""
    titles, cells = rows(results, names)
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title == "model" else "right", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    console.print(table)
    for line in summary(results):
        console.print(line)


def markdown(results: list[dict[str, Any]], names: list[str], machine: str) -> str:
    """The same as a page."""
    titles, cells = rows(results, names)
    lines = [
        "# graphopt and its peers", "",
        f"Written by `make bench-peers` on {machine}. Nodes after each tool at its defaults (those in bodies counted, "
        "Constant not); ✗ the tool failed, or outputs differ by more than a thousandth; + more than the best peer. Of "
        "graphopt: bytes ÷ the original's; seconds of the whole process without verification, and that ÷ the faster "
        "of onnxsim and onnxslim; memory resident at most; largest difference of an output on real inputs, relative "
        "to the largest number in it (– where no runtime runs the original).", "",
    ]  # fmt: skip
    lines += [f"- {line}" for line in summary(results)] + [""]
    lines += ["| " + " | ".join(titles) + " |", "|---|" + "--:|" * (len(titles) - 1)]
    lines += ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join(lines) + "\n"
