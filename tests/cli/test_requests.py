"""Requests that are wrong: one line that names the nearest right word, exit code 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Here = Callable[..., Any]

FILES = {
    "key.toml": "passes = 1\n",
    "pass.toml": '[[pass]]\nname = "fuse-conv-bm"\n',
    "option.toml": '[[pass]]\nname = "fold-constants"\ngrowht = 1.0\n',
    "type.toml": '[[pass]]\nname = "fold-constants"\ngrowth = "much"\n',
    "broken.toml": "[[pass\n",
    "good.toml": '[[pass]]\nname = "fuse-conv-bn"\n',
}


@pytest.fixture(autouse=True)
def folder(small: Path, tmp_path: Path) -> None:
    """Recipes and data that are wrong in one way each."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "nothing").mkdir()
    np.save(tmp_path / "shape.npy", np.zeros((1, 3, 9, 9), np.float32))
    np.save(tmp_path / "nan.npy", np.full((1, 2, 4, 4), np.nan, np.float32))
    np.save(tmp_path / "type.npy", np.zeros((1, 2, 4, 4), np.complex64))
    np.savez(tmp_path / "name.npz", wrong=np.zeros((1, 2, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-r", "key.toml"], "key.toml: unknown key 'passes'; did you mean 'pass'?"),
        (["-r", "pass.toml"], "there is no pass 'fuse-conv-bm'; did you mean 'fuse-conv-bn'?"),
        (["-r", "option.toml"], "pass fold-constants has no option 'growht'; did you mean 'growth'?"),
        (["-r", "type.toml"], "pass fold-constants, option growth: input should be a valid number"),
        (["-r", "broken.toml"], "broken.toml: not valid TOML"),
        (["-r", "none.toml"], "none.toml: cannot be read: no such file or directory"),
        (["-r", "nothing"], "nothing: cannot be read: is a directory"),
        (["-r", "small.onnx"], "small.onnx: is not a text file"),
        (["-r", "good.toml", "--only"], "leave out --recipe"),
        (["-p", "fuse-conv-bm"], "did you mean 'fuse-conv-bn'?"),
        (["-p", "fold-constants:growth"], "there is no pass"),
        (["-p", "fold-constants:growth=much"], "option growth: input should be a valid number"),
        (["-p", "fold-constants:growth=1,growth"], "option 'growth' has no value"),
        (["-p", ""], "has no name"),
        (["-p", "elsewhere:fuse-conv-bn"], "there is graphopt:fuse-conv-bn"),
        (["-b", "tflight"], "there is no backend 'tflight'; did you mean 'tflite'?"),
        (["--dim", "bach=2"], "batch"),
        (["--dim", "batch"], "batch"),
        (["--dim", "batch=two"], "batch=two"),
        (["--dim", "batch=-1"], "batch=-1"),
        (["--dim", "x=1x3x4x4"], "x"),
        (["--calibration", "shape.npy"], "shape.npy"),
        (["--calibration", "nan.npy"], "nan.npy"),
        (["--calibration", "type.npy"], "type.npy"),
        (["--calibration", "name.npz"], "wrong"),
        (["--calibration", "nothing"], "nothing"),
        (["--calibration", "none.npz"], "none.npz"),
        (["--calibration", "small.onnx"], "small.onnx"),
        (["--mean", "grey", "--calibration", "nan.npy"], "--mean grey"),
        (["-b", "tflite", "--target", "sm89"], "tflite has no targets to choose"),
        (["-b", "tensorrt", "--target", "sm1"], "--target sm1: tensorrt compiles for"),
        (["-b", "tflite,snpe", "-o", "x.onnx"], "give a folder"),
        (["-o", "-", "--json"], "leave out one"),
        (["-o", "none/x.onnx"], "cannot write none/x.onnx: the folder none does not exist"),
        (["-o", "/sys/x.onnx"], "cannot write /sys/x.onnx"),
        (["-o", "/sys/none/"], "cannot write into /sys/none"),
        (["-o", "small.onnx/deep/"], "cannot write into small.onnx/deep"),
        (["-o", "small.onnx/x.onnx"], "the folder small.onnx does not exist"),
    ],
)  # fmt: skip
def test_a_wrong_request_to_run_is_one_line(here: Here, tmp_path: Path, arguments: list[str], message: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    out = [] if "-o" in arguments else ["-o", "out/"]
    answer = here("run", "small.onnx", *arguments, *out)
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert answer.err.startswith("graphopt: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "there is no command 'rum'. Did you mean 'run'?"),
        (["run"], "Missing argument 'MODEL'"),
        (["run", "small.onnx", "--verify", "often"], "'often' is not one of"),
        (["check", "small.onnx"], "Missing option '-b'"),
        (["check", "small.onnx", "-b", ","], "names nothing"),
        (["passes", "show", "fuse-conv-bm"], "did you mean 'fuse-conv-bn'?"),
        (["backends", "show", "tflight"], "did you mean 'tflite'?"),
        (["compile", "small.onnx", "-b", "tflite,snpe", "-o", "x"], "compile takes one backend"),
        (["compile", "small.onnx", "-b", "tflite", "-o", "nothing"], "is a folder"),
        (["compile", "small.onnx", "-b", "tflite", "-o", "none/x"], "the folder none does not exist"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_a_wrong_command_says_what_is_right(here: Here, arguments: list[str], message: str) -> None:
    answer = here(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
