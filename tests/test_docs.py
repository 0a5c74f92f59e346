"""Generated documentation is not stale."""

from __future__ import annotations

from pathlib import Path

from graphopt.pipeline import make_backend
from graphopt.support.matrix import matrix

DOCS = Path(__file__).parents[1] / "docs"


def test_the_support_matrix_is_what_the_tables_say() -> None:
    tables = [table for name in ("tflite", "tensorrt", "snpe") for table in make_backend(name).tables()]
    assert (DOCS / "support.md").read_text() == matrix(tables), "run `make docs`"
