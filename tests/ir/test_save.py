"""The old file or the new one is on disk, never half of one; weights stay where they were; nothing is changed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphopt.errors import UserError
from graphopt.ir import io as io_module
from graphopt.ir import load, save, to_bytes

ELEMENTS = 5000


def build(*, shared: bool = False, seed: int = 0) -> ir.Model:
    """x + a + b with two weights of 20 kB, and a small one."""
    rng = np.random.default_rng(seed)
    first = ir.tensor(rng.standard_normal(ELEMENTS).astype(np.float32), name="a")
    second = first if shared else ir.tensor(rng.standard_normal(ELEMENTS).astype(np.float32), name="b")
    x = ir.val("x", ir.DataType.FLOAT, [ELEMENTS])
    small = ir.val("c", const_value=ir.tensor(np.ones(1, np.float32), name="c"))
    weights = [ir.val("a", const_value=first), ir.val("b", const_value=second), small]
    nodes, last = [], x
    for number, weight in enumerate(weights):
        nodes.append(ir.node("Add", [last, weight], name=f"n{number}"))
        last = nodes[-1].outputs[0]
        last.name = f"v{number}"
    graph = ir.Graph([x], [last], nodes=nodes, initializers=weights, opset_imports={"": 17}, name="g")
    last.type, last.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([ELEMENTS])
    return ir.Model(graph, ir_version=9)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def in_child(limit: int, work: str, *arguments: object, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run code in a child that may not write files beyond `limit` bytes."""

    def restrict() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", work, *map(str, arguments)]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=restrict, check=False)


SAVE = """
import sys, graphopt.ir.io as io
from graphopt.errors import UserError
model = io.load(sys.argv[1])
if sys.argv[3:]: io.INLINE_LIMIT = int(sys.argv[3])
try: io.save(model, sys.argv[2])
except UserError as error: sys.exit("refused: " + str(error))
"""


@pytest.mark.parametrize("inline_limit", [None, 0], ids=["inline", "external"])
def test_a_disk_that_is_full_leaves_the_old_file_and_no_litter(tmp_path: Path, inline_limit: int | None) -> None:
    save(build(seed=1), tmp_path / "source.onnx")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(b"the old file")
    arguments = [tmp_path / "source.onnx", folder / "m.onnx", *([] if inline_limit is None else [inline_limit])]
    child = in_child(8000, SAVE, *arguments)
    assert child.returncode == 1
    assert child.stderr.startswith("refused: cannot write"), child.stderr
    assert content(folder) == {"m.onnx": b"the old file"}


def test_a_model_that_fails_after_its_data_leaves_no_data_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io_module, "INLINE_LIMIT", 0)
    model = build()
    model.graph.doc_string = "\ud800"  # no UTF-8 has this
    with pytest.raises(Exception, match="cannot be written"):
        save(model, tmp_path / "m.onnx")
    assert content(tmp_path) == {}


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or directory"):
        save(build(), tmp_path / "none" / "m.onnx")


def test_the_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    save(build(), tmp_path / "m.onnx")
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.onnx").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_small_models_are_one_file(tmp_path: Path) -> None:
    save(build(), tmp_path / "m.onnx")
    assert list(content(tmp_path)) == ["m.onnx"]
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_large_weights_leave_the_file_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_module, "INLINE_LIMIT", 1000)
    model = build()
    save(model, tmp_path / "m.onnx")
    (data,) = tmp_path.glob("*.data")
    assert data.name.startswith("m.")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    again = load(tmp_path / "m.onnx")
    for name, value in model.graph.initializers.items():
        assert np.array_equal(again.graph.initializers[name].const_value.numpy(), value.const_value.numpy())
    kinds = {name: type(v.const_value).__name__ for name, v in again.graph.initializers.items()}
    assert kinds == {"a": "ExternalTensor", "b": "ExternalTensor", "c": "TensorProtoTensor"}


def test_what_was_external_stays_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(io_module, "INLINE_LIMIT", 0)
        save(build(), tmp_path / "m.onnx")
    (tmp_path / "out").mkdir()
    save(load(tmp_path / "m.onnx"), tmp_path / "out" / "other.onnx")
    (data,) = (tmp_path / "out").glob("other.*.data")
    (before,) = tmp_path.glob("m.*.data")
    assert data.read_bytes() == before.read_bytes()
    assert data.suffixes == before.suffixes


def test_a_shared_tensor_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_module, "INLINE_LIMIT", 0)
    save(build(shared=True), tmp_path / "m.onnx")
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_size == 4 * ELEMENTS
    again = load(tmp_path / "m.onnx").graph.initializers
    assert np.array_equal(again["a"].const_value.numpy(), again["b"].const_value.numpy())


def test_data_of_the_file_before_go_and_files_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_module, "INLINE_LIMIT", 0)
    (tmp_path / "m[1].mydata!!.data").write_bytes(b"the user's")
    (tmp_path / "m1.12345678.data").write_bytes(b"of another model")
    save(build(seed=1), tmp_path / "m[1].onnx")
    (first,) = set(content(tmp_path)) - {"m[1].mydata!!.data", "m1.12345678.data", "m[1].onnx"}
    save(build(seed=2), tmp_path / "m[1].onnx")
    left = set(content(tmp_path)) - {"m[1].mydata!!.data", "m1.12345678.data", "m[1].onnx"}
    assert len(left) == 1
    assert first not in left


def test_a_model_saved_over_its_own_file_can_be_saved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_module, "INLINE_LIMIT", 0)
    save(build(), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx")
    model.graph.initializers["a"].const_value = ir.tensor(np.zeros(ELEMENTS, np.float32), name="a")
    save(model, tmp_path / "m.onnx")
    save(model, tmp_path / "again.onnx")
    kept = load(tmp_path / "again.onnx").graph.initializers["b"].const_value
    assert np.array_equal(kept.numpy(), build().graph.initializers["b"].const_value.numpy())


@pytest.mark.parametrize("inline_limit", [1 << 30, 0])
def test_saving_changes_nothing_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_limit: int
) -> None:
    model = build()
    held = {name: value.const_value for name, value in model.graph.initializers.items()}
    before = to_bytes(model)
    monkeypatch.setattr(io_module, "INLINE_LIMIT", inline_limit)
    save(model, tmp_path / "m.onnx")
    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in held.items())
    monkeypatch.undo()
    assert to_bytes(model) == before


def test_the_same_model_makes_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    save(build(), tmp_path / "source.onnx")
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        child = in_child(0, SAVE, tmp_path / "source.onnx", folder / "m.onnx", 0, seed=seed)
        assert child.returncode == 0, child.stderr
        found.append(content(folder))
    assert found[0] == found[1]
    assert len(found[0]) == 2
