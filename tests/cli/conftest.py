"""The command line, in a process of its own or (for what fails early) in this one; and small models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from graphopt.cli.main import main

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


@dataclass(frozen=True)
class Answer:
    """What the command line said."""

    code: int
    out: str
    err: str


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs `python -m graphopt` in `tmp_path`."""

    def run(
        *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "graphopt", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, input=stdin, env={**os.environ, **(env or {})}, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Runs the same `main` in this process, in `tmp_path`: much faster, for the many ways to be wrong."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["graphopt", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, said.out, said.err)

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Conv, BatchNormalization, Relu, with a free batch."""
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        small (float[batch,2,4,4] x) => (float[batch,2,4,4] y)
        <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}, float[2] s = {1.0, 2.0}, float[2] b = {0.5, -0.5},
         float[2] m = {0.1, 0.2}, float[2] v = {1.0, 4.0}> {
            a = Identity(x)
            c = Conv(a, w)
            n = BatchNormalization(c, s, b, m, v)
            y = Relu(n)
        }""")
    onnx.save(proto, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """A model with an operator that nobody knows, between two that everybody knows."""
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "my.ops" : 3]>
        custom (float[1,4] x) => (float[1,4] y) {
            a = Identity(x)
            b = my.ops.Frobnicate<size = 3>(a)
            y = Relu(b)
        }""")
    proto.graph.node[1].name = "odd one"
    onnx.save(proto, tmp_path / "custom.onnx")
    return tmp_path / "custom.onnx"
