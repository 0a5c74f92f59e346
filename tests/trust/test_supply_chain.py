"""No file that graphopt reads is ever run: no pickle, no eval, nothing that builds code out of data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphopt.errors import UserError
from graphopt.ir import load
from graphopt.verify import iterate

ROOT = Path(__file__).parents[2]
SHIPPED = ("graphopt", "passes/graphopt_passes", "backends/graphopt_backends")
CODE_FROM_DATA = {
    "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml", "torch", "code", "codeop",
    "xmlrpc",
}  # fmt: skip
RUNS_TEXT = {"eval", "exec", "__import__"}
SHELL = ("graphopt/reduce/behavior.py",)
"""Runs the command that the user gave on the command line, as it says."""


def _sources() -> list[Path]:
    files = [file for folder in SHIPPED for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 300
    return files


def _offenses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name.partition(".")[0] in CODE_FROM_DATA)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in CODE_FROM_DATA:
            yield node.lineno, str(node.module)
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            of_os = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "os"
            given = {word.arg: word.value for word in node.keywords}
            if name in RUNS_TEXT or (of_os and attribute in ("system", "popen")):
                yield node.lineno, name or attribute
            if attribute in ("load", "savez", "savez_compressed", "save") and _is_true(given.get("allow_pickle")):
                yield node.lineno, "allow_pickle"
            if _is_true(given.get("shell")):
                yield node.lineno, "shell"


def _is_true(value: ast.expr | None) -> bool:
    return value is not None and not (isinstance(value, ast.Constant) and value.value is False)


def test_nothing_that_ships_turns_data_into_code() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line} {what}"
        for file in _sources()
        for line, what in _offenses(ast.parse(file.read_text(encoding="utf-8")))
        if not (what == "shell" and str(file.relative_to(ROOT)) in SHELL)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from marshal import loads", "eval(text)", "np.load(f, allow_pickle=True)", "os.system(text)",
     "subprocess.run(text, shell=True)", "np.load(f, allow_pickle=trusted)"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    assert list(_offenses(ast.parse(text)))


class _Payload:
    """What runs code when it is unpickled: makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_samples_that_hold_code_are_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    proof = tmp_path / "ran"
    array = np.array([_Payload(proof)], object)
    file = tmp_path / f"data{suffix}"
    np.save(file, array, allow_pickle=True) if suffix == ".npy" else np.savez(file, x=array)
    model = load(_identity())
    with pytest.raises(UserError, match="Python objects, which are not loaded"):
        list(iterate(file, model))
    assert not proof.exists()


def _identity() -> bytes:
    import onnx

    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Identity(x) }'
    return onnx.parser.parse_model(text).SerializeToString()
