"""Write a report's files, each whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

from graphopt.errors import UserError
from graphopt.report.drawing import Drawing
from graphopt.report.html import render_html
from graphopt.report.model import Report, to_json


def write(report: Report, folder: str | Path, drawing: Drawing | None = None) -> tuple[Path, Path]:
    """Write report.json and report.html into `folder` and return their paths.

    The folder is made where it is missing. An older file is replaced only by a finished one.

    Args:
        report: the record of the run.
        folder: where to.
        drawing: the graphs that the page shows, as `graphopt.optimize` gives them where it was asked to draw.

    Raises:
        UserError: the folder cannot be written to, or a file in it cannot be replaced.
    """
    data = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    page = render_html(report, drawing)
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        return _replace(target / "report.json", data), _replace(target / "report.html", page)
    except OSError as error:
        what = f"{error.strerror or error}".lower()
        raise UserError(f"cannot write the report to {target}: {what}; choose another folder with -o") from error


def _replace(path: Path, text: str) -> Path:
    # In the same folder, since a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
