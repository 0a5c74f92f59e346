"""Take every model of a folder to OpenVINO, run it there, and write what came of it into a table.

    python benchmarks/corpus.py FOLDER [--write README.md]

Beside NAME.onnx may lie NAME.json, whose `inputs` give shapes for dynamic dimensions, and values for inputs that are a
setting, as the rate of a sound. Each model is optimized,
compiled, run on generated inputs and compared with the original in onnxruntime.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import graphopt

HEAD = "| model | nodes | after | table says no | OpenVINO | agrees | SQNR in dB, at worst | seconds |"
BEGIN, END = "<!-- corpus -->", "<!-- /corpus -->"


def told(model: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes by input name, and settings by input name, from the file beside a model."""
    file = model.with_suffix(".json")
    known = json.loads(file.read_text(encoding="utf-8")).get("inputs", {}) if file.is_file() else {}
    inputs = graphopt.load(model).graph.inputs
    dynamic = {value.name for value in inputs if value.shape is None or not value.shape.is_static()}
    shapes = {name: tuple(one["shape"]) for name, one in known.items() if name in dynamic and "shape" in one}
    return shapes, {name: one["value"] for name, one in known.items() if one.get("shape") == [] and "value" in one}


def line(model: Path) -> str:
    """The row of one model."""
    try:
        shapes, settings = told(model)
        report = graphopt.optimize(model, backend="openvino", dims=shapes, values=settings, samples=2).report
    except graphopt.GraphoptError as error:
        return f"| {model.stem} | | | | | {error} | | |"
    after = report.support.after if report.support else None
    refused = after.nodes - after.supported if after else 0
    run = report.compile.execution
    worst = min((one.sqnr_db for one in run.outputs if one.sqnr_db is not None), default=None)
    agrees = {"passed": "yes", "failed": f"no: {run.reason}"}.get(run.status, run.reason or run.status)
    cells = [
        model.stem, report.input.nodes, report.output.nodes if report.output else "", refused, report.compile.status,
        agrees, "" if worst is None else f"{worst:.0f}", f"{report.seconds:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def rows(folder: Path) -> Iterator[str]:
    """The table, row by row, as it comes about."""
    yield HEAD
    yield f"|{'---|' * HEAD.strip('|').count('|')}---|"
    for model in sorted(folder.glob("*.onnx")):
        yield line(model)


def main() -> None:
    """Print the table, and write it between the marks of a file where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    table = []
    for row in rows(arguments.folder):
        print(row, flush=True)  # noqa: T201
        table.append(row)
    if arguments.write is not None:
        text = arguments.write.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        arguments.write.write_text(f"{before}{BEGIN}\n{chr(10).join(table)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
