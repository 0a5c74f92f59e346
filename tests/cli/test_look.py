"""`graphopt inspect`, `diff` and `bench`, as scripts and people use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphopt.cli.main import _SECTIONS, BUILT_IN

Shell = Callable[..., Any]


@pytest.fixture
def fused(small: Path, here: Shell) -> Path:
    """What graphopt makes of the small model."""
    assert here("run", "small.onnx", "-o", "fused.onnx", "--quiet").code == 0
    return small.with_name("fused.onnx")


@pytest.fixture
def other(small: Path) -> Path:
    """The small model with another weight."""
    proto = onnx.load(small)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    weight.float_data[0] += 1
    onnx.save(proto, small.with_name("other.onnx"))
    return small.with_name("other.onnx")


def test_inspect_says_what_is_in_a_model(here: Shell, small: Path) -> None:
    answer = here("inspect", "small.onnx", "--dim", "batch=3", "--layers")
    assert (answer.code, answer.err) == (0, "")
    assert "float32[batch,2,4,4]" in answer.out
    assert "float32[3,2,4,4]" in answer.out
    assert all(op in answer.out for op in ("Identity", "Conv", "BatchNormalization", "Relu"))


def test_inspect_as_json_is_for_scripts(here: Shell, small: Path) -> None:
    answer = here("inspect", "small.onnx", "--json", "-b", "tflite")
    data = json.loads(answer.out)
    assert (data["schema"], data["path"], data["macs"]) == ("graphopt.inspect/1", "small.onnx", 64)
    assert data["backends"]["tflite"] == {"supported": 4, "unsupported": []}


def test_inspect_names_what_a_backend_does_not_take(here: Shell, custom: Path) -> None:
    answer = here("inspect", "custom.onnx", "-b", "tflite", "--layers")
    assert answer.code == 0
    assert "takes 1 of 3 nodes" in answer.out
    assert next(line for line in answer.out.splitlines() if " Identity  " in line).endswith("✓")
    assert next(line for line in answer.out.splitlines() if "odd one" in line).endswith("✗")


def test_diff_of_what_graphopt_made_is_no_difference(here: Shell, fused: Path) -> None:
    answer = here("diff", "small.onnx", "fused.onnx", "--html", "diff.html")
    assert answer.code == 0
    assert "Conv + BatchNormalization → Conv" in answer.out
    assert "Written: diff.html" in answer.out
    assert "</html>" in fused.with_name("diff.html").read_text()


def test_diff_has_the_exit_codes_of_diff(here: Shell, small: Path, other: Path) -> None:
    assert here("diff", "small.onnx", "small.onnx").code == 0
    answer = here("diff", "small.onnx", "other.onnx", "--json")
    assert answer.code == 1
    data = json.loads(answer.out)
    assert (data["schema"], data["verdict"]) == ("graphopt.diff/1", "different")
    assert data["weights"][0]["max_abs"] == 1
    assert here("diff", "small.onnx", "missing.onnx").code == 2
    assert here("diff", "small.onnx").code == 2


def test_quiet_says_nothing_but_by_the_exit_code(here: Shell, small: Path, other: Path) -> None:
    answer = here("diff", "small.onnx", "other.onnx", "--quiet")
    assert (answer.code, answer.out, answer.err) == (1, "", "")


def test_diff_reads_one_model_from_standard_input(shell: Shell, small: Path) -> None:
    done = shell("diff", "-", "small.onnx", stdin=small.read_bytes())
    assert done.returncode == 0, done.stderr
    assert b"identical" in done.stdout


def test_diff_compares_on_the_users_samples_and_refuses_wrong_ones(here: Shell, small: Path, other: Path) -> None:
    import numpy as np

    np.savez(small.with_name("data.npz"), x=np.ones((2, 2, 4, 4), np.float32))
    answer = here("diff", "small.onnx", "other.onnx", "--calibration", "data.npz", "--json")
    assert json.loads(answer.out)["outputs"]["sizes"] == {"x": [2, 2, 4, 4]}
    np.savez(small.with_name("data.npz"), x=np.ones((2, 5, 4, 4), np.float32))
    answer = here("diff", "small.onnx", "other.onnx", "--calibration", "data.npz")
    assert answer.code == 2
    assert "(2, 5, 4, 4)" in answer.err


@pytest.mark.parametrize("command", ["inspect model.tflite", "diff model.tflite small.onnx"])
def test_a_compiled_file_is_refused_in_its_own_words(here: Shell, small: Path, command: str) -> None:
    small.with_name("model.tflite").write_bytes(b"\0\0\0\0TFL3")
    answer = here(*command.split())
    assert answer.code == 2
    assert "compiled for tflite" in answer.err
    assert "graphopt bench" in answer.err


def test_bench_draws_and_tells(here: Shell, small: Path, fused: Path) -> None:
    answer = here(
        "bench", "small.onnx", "fused.onnx", "--seconds", "0.1", "--processes", "1", "--dim", "batch=2",
        "--plot", "p.svg", "--threads", "1", "--profile",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    assert "1 thread; x 2x2x4x4" in answer.out
    assert "slowest operators" in answer.out
    assert small.with_name("p.svg").read_text().startswith("<svg")


def test_bench_refuses_before_it_works(here: Shell, small: Path) -> None:
    assert here("bench", "small.onnx", "--plot", "nowhere/p.svg").code == 2
    answer = here("bench", "small.onnx", "--dim", "height=3")
    assert answer.code == 2
    assert "height" in answer.err


def test_every_command_is_in_one_section_of_the_help() -> None:
    listed = [name for _, names in _SECTIONS for name in names]
    assert sorted(listed) == sorted(BUILT_IN)


@pytest.mark.parametrize("command", ["run", "check", "compile", "inspect", "diff", "bench"])
def test_the_help_of_a_command_teaches_by_examples(here: Shell, command: str) -> None:
    examples = [
        line for line in here(command, "--help").out.splitlines() if line.strip().startswith(f"graphopt {command} ")
    ]
    assert len(examples) >= 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("graphopt run m -p fuse-conv", "plain,fuse-conv-bn"),
        ("graphopt passes show quant", "plain,quantize"),
        ("graphopt backends show ten", "plain,tensorrt"),
        ("graphopt ins", "plain,inspect"),
        ("graphopt diff mod", "file,mod"),
        ("graphopt bench a.onnx b", "file,b"),
        ("graphopt run m --recipe re", "file,re"),
    ],
)
def test_bash_completes_names_and_files(tmp_path: Path, words: str, expected: str) -> None:
    environment = {
        **os.environ, "_GRAPHOPT_COMPLETE": "bash_complete", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }  # fmt: skip
    program = Path(sys.executable).with_name("graphopt")
    done = subprocess.run([program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert expected in done.stdout.split()
