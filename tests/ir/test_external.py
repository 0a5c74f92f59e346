"""Weights outside the file are copied from file to file, never all in memory, and come out as they went in."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from graphopt.ir import load, save
from graphopt.ir.external import blocks

LARGE = 400_000_000
"""Bytes of one weight of the model that is too large to be held."""


def external(folder: Path, weights: dict[str, np.ndarray], gap: int = 0) -> Path:
    """A model that adds vectors up, each from a file of its own place, with `gap` bytes before each."""
    tensors, offset = [], gap
    with (folder / "m.weights").open("wb") as out:
        for name, array in weights.items():
            out.write(b"\1" * gap + array.tobytes())
            tensor = TensorProto(
                name=name, data_type=TensorProto.FLOAT, dims=array.shape, data_location=TensorProto.EXTERNAL
            )
            for key, value in (("location", "m.weights"), ("offset", offset), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            offset += array.nbytes + gap
    return _model(folder, tensors)


def _model(folder: Path, tensors: list[TensorProto]) -> Path:
    names = ["x", *(t.name for t in tensors)]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Sum", names, ["y"])], "sum", info[:1], info[1:], tensors)
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def vectors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(3000 + 17 * number).astype(np.float32) for number, name in enumerate("abc")}


def content(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


@pytest.mark.parametrize("gap", [0, 7, 4096])
@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.ENOSYS], ids=["cloned", "other disk", "old kernel"])
def test_weights_come_out_as_they_went_in(
    tmp_path: Path, vectors: dict[str, np.ndarray], gap: int, refusal: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = external(tmp_path, vectors, gap)
    if refusal is not None:

        def refuse(*_: object) -> int:
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "out").mkdir()
    save(load(source), tmp_path / "out" / "n.onnx")
    found = content(load(tmp_path / "out" / "n.onnx"))
    assert all(np.array_equal(found[name], array) for name, array in vectors.items())
    (data,) = (tmp_path / "out").glob("n.*.data")
    digest = 0
    for array in vectors.values():
        digest = zlib.crc32(array.tobytes(), digest)
    assert data.name == f"n.{digest:08x}.data", "the name is that of the content"


def test_a_kernel_that_copies_in_small_steps_is_asked_again(
    tmp_path: Path, vectors: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = os.copy_file_range
    monkeypatch.setattr(os, "copy_file_range", lambda a, b, count, *at: copy(a, b, min(count, 1000), *at))
    source = external(tmp_path, vectors)
    save(load(source), tmp_path / "n.onnx")
    found = content(load(tmp_path / "n.onnx"))
    assert all(np.array_equal(found[name], array) for name, array in vectors.items())


def test_saving_tells_how_far_it_is(tmp_path: Path, vectors: dict[str, np.ndarray]) -> None:
    told: list[tuple[int, int]] = []
    save(load(external(tmp_path, vectors)), tmp_path / "n.onnx", tell=lambda done, size: told.append((done, size)))
    total = sum(array.nbytes for array in vectors.values())
    assert [size for _, size in told] == [total] * 3
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_the_pieces_of_a_tensor_are_its_content(tmp_path: Path, vectors: dict[str, np.ndarray]) -> None:
    model = load(external(tmp_path, vectors, 5))
    for name, value in model.graph.initializers.items():
        assert value.const_value is not None
        assert b"".join(blocks(value.const_value)) == vectors[name].tobytes()


def test_weights_larger_than_memory_may_be_go_through_the_command_line(tmp_path: Path) -> None:
    with (tmp_path / "m.weights").open("wb") as out:
        out.truncate(2 * LARGE)  # of holes: nothing is written
    tensors = []
    for number in range(2):
        tensor = TensorProto(
            name=f"w{number}", data_type=TensorProto.FLOAT, dims=[LARGE // 4], data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", "m.weights"), ("offset", number * LARGE), ("length", LARGE)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
    source = _model(tmp_path, tensors)
    command = ["run", str(source), "-o", str(tmp_path / "n.onnx"), "--verify", "off", "--quiet"]
    work = f"""
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "graphopt", *{command!r}]).returncode
assert not code
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < LARGE, "no weight is ever whole in memory"
