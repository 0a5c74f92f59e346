"""The questions of the conformance kit about a backend."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphopt.plugins.entry_points import Entry
from graphopt.support.backend import Backend

_TINY = """
    <ir_version: 8, opset_import: ["" : 17]>
    tiny (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"""
_BROKEN = """
    <ir_version: 8, opset_import: ["" : 17, "nobody" : 1]>
    broken (float[1,4] x) => (float[1,4] y) { y = nobody.Knows(x) }"""


def backend_questions(entry: Entry[type[Backend]], limit: float) -> list[tuple[str, Callable[[], None]]]:
    """What to ask of a backend, each with the call that raises where the answer is no.

    Args:
        entry: the backend.
        limit: seconds that its compiler, and then its runtime, may take.
    """
    return [
        ("can be made without options", lambda: _make(entry)),
        ("has a table that is sound", lambda: _table(entry.load_and_make())),
        ("has a recipe whose passes exist", lambda: _recipe(entry.load_and_make())),
        ("compiles a Relu and runs it", lambda: _compiles(entry.load_and_make(), limit)),
        ("refuses an operator that nobody knows, without raising", lambda: _refuses(entry.load_and_make(), limit)),
    ]


def _make(entry: Entry[type[Backend]]) -> None:
    entry.load_and_make()


def _table(backend: Backend) -> None:
    table = backend.table()
    if table.backend != backend.name:
        raise AssertionError(f"the table is of the backend {table.backend!r}")
    if not table.rows:
        raise AssertionError(f"the table has no rows: `graphopt probe -b {backend.name} -o table.json` measures them")


def _recipe(backend: Backend) -> None:
    from graphopt.pipeline.recipe import parse

    parse(backend.recipe(), source=f"the recipe of {backend.name}").build()


def _compiled(backend: Backend, text: str, folder: str, limit: float) -> tuple[Any, Path]:
    import onnx

    if backend.toolchain() is None:
        from graphopt.testing.conformance import Skip

        raise Skip("its toolchain is not installed")
    model = Path(folder, "model.onnx")
    onnx.save(onnx.parser.parse_model(text), model)
    return backend.compile(model, Path(folder, f"out{backend.suffix}"), timeout=limit), model


def _compiles(backend: Backend, limit: float) -> None:
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        made, model = _compiled(backend, _TINY, folder, limit)
        if made.status != "ok":
            raise AssertionError(f"it does not compile: {made.issues[0].reason if made.issues else 'no reason given'}")
        if made.artifact is None or not made.artifact.is_file():
            raise AssertionError("it says ok and writes no file")
        x = np.array([[-1, 0, 2, -3]], np.float32)
        ran = backend.execute(made, model, [{"x": x}], timeout=limit)
        if ran.status == "failed":
            raise AssertionError(f"it does not run: {ran.reason}")
        if ran.status == "ok" and not np.allclose(ran.samples[0]["y"], np.maximum(x, 0), atol=1e-2):
            raise AssertionError(f"it computes {ran.samples[0]['y'].tolist()} of {x.tolist()}")


def _refuses(backend: Backend, limit: float) -> None:
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        made, _ = _compiled(backend, _BROKEN, folder, limit)
        if made.status == "ok":
            raise AssertionError("it says ok to an operator that does not exist")
        if not made.issues:
            raise AssertionError("it gives no reason")
