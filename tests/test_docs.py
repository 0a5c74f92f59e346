"""Generated documentation is not stale."""

from __future__ import annotations

import re
from pathlib import Path

from graphopt.pipeline import PASSES, make_backend
from graphopt.support.matrix import matrix

DOCS = Path(__file__).parents[1] / "docs"


def test_the_support_matrix_is_what_the_tables_say() -> None:
    tables = [table for name in ("tflite", "tensorrt", "snpe") for table in make_backend(name).tables()]
    assert (DOCS / "support.md").read_text() == matrix(tables), "run `make docs`"


def test_every_pass_and_rule_that_the_list_of_rewrites_names_exists() -> None:
    passes = {entry.name: entry.load() for entry in PASSES.entries()}
    known = {f"{name}/{rule.name}" for name, one in passes.items() for rule in getattr(one, "rules", ())} | {*passes}
    rows = [line.split("|") for line in (DOCS / "rewrites.md").read_text().splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`([a-z0-9/-]+)`", row[2])}
    assert len(named) > 60
    assert named <= known


def test_the_list_of_rewrites_names_every_fusion_and_every_member_of_canonicalize() -> None:
    text = (DOCS / "rewrites.md").read_text()
    kinds = ("graphopt_passes.fuse", "graphopt_passes.canonicalize", "graphopt_passes.movement")
    ours = {entry.name for entry in PASSES.entries() if entry.point.value.startswith(kinds)}
    assert {name for name in ours if f"`{name}`" not in text} <= {"upgrade-ir"}
