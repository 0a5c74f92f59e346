"""The demo: two real models onto TFLite, TensorRT and SNPE, with the answers on a real scanned page.

    make demo

Everything is done by the `graphopt` command; this file fetches the models, cuts the page into inputs, runs the
command for each model, and ends with one table out of the reports. Results stay in demo-out/.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from models import CLASSIFIER, DETECTOR, PAGE, fetch
from PIL import Image
from rich.console import Console

from graphopt.report.model import Report, from_json
from graphopt.report.terminal import render_summary

OUT = Path("demo-out")
BACKENDS = ("tflite", "tensorrt", "snpe")
CASES = (
    # name, model file, shape of its input, the part of the page (left, top, right, bottom)
    ("text-direction", CLASSIFIER, (1, 3, 48, 192), (0, 20, 192, 68)),
    ("text-detector", DETECTOR, (1, 3, 320, 320), (0, 0, 191, 191)),
)


def picture(page: Path, box: tuple[int, int, int, int], folder: Path) -> Path:
    """Cut the input out of the page; graphopt resizes and normalizes it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.open(page).convert("RGB").crop(box).save(folder / "page.png")
    return folder


def run(name: str, model: Path, shape: tuple[int, ...], data: Path) -> list[Report]:
    """`graphopt run` for all backends, and its reports."""
    folder = OUT / name
    command = [str(Path(sys.executable).with_name("graphopt")), "run", str(model)]
    for backend in BACKENDS:
        command += ["-b", backend]
    command += ["--dim", f"x={'x'.join(map(str, shape))}", "--calibration", str(data)]
    command += ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "-o", f"{folder}/"]
    sys.stdout.write(f"\n$ {' '.join(command[:1] + command[1:]).replace(command[0], 'graphopt')}\n\n")
    sys.stdout.flush()
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)
    return [from_json(json.loads((folder / b / "report.json").read_text())) for b in BACKENDS]


def main() -> None:
    """Fetch, run, show."""
    start = time.perf_counter()
    files = fetch(OUT / "models")
    reports: list[Report] = []
    for name, model, shape, box in CASES:
        reports += run(name, files[model], shape, picture(files[PAGE], box, OUT / "inputs" / name))
    console = Console(highlight=False)
    console.print()
    render_summary(reports, console)
    console.print(f"\nReports: {OUT}/*/*/report.html   ({time.perf_counter() - start:.0f} s after the set-up)")


if __name__ == "__main__":
    main()
