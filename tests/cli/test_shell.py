"""The command line among other programs: quick to start, quiet when cut off, plain where it is not on a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphopt.cli.main import BUILT_IN

Shell = Callable[..., Any]
GRAPHOPT = f"'{sys.executable}' -m graphopt"


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in a folder."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_waits_for_no_heavy_library() -> None:
    program = (
        "import sys; sys.argv = ['graphopt', '--help']\n"
        "from graphopt.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'onnx', 'onnx_ir', 'onnxruntime', 'numpy', 'rich', 'pydantic', 'jinja2', 'networkx'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert all(command in done.stdout for command in BUILT_IN)


@pytest.mark.parametrize("command", [*BUILT_IN, "passes show", "backends show"])
def test_every_command_explains_itself(here: Shell, command: str) -> None:
    answer = here(*command.split(), "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: graphopt ")


def test_the_installed_command_is_the_same_program(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("graphopt")
    done = subprocess.run([beside, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(r"graphopt \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(here: Shell, name: str) -> None:
    answer = here("completion", name)
    assert answer.code == 0
    assert "_GRAPHOPT_COMPLETE" in answer.out


def test_bash_completes_backends(tmp_path: Path) -> None:
    line = "COMP_WORDS='graphopt check m -b tflite,sn' COMP_CWORD=4 _GRAPHOPT_COMPLETE=bash_complete"
    done = bash(f"{line} '{Path(sys.executable).with_name('graphopt')}'", tmp_path)
    assert done.stdout.split() == ["plain,tflite,snpe"]


@pytest.mark.parametrize("command", ["passes", "passes --json", "--help", "run small.onnx", "run small.onnx --json"])
def test_a_reader_that_goes_away_is_no_error(small: Path, tmp_path: Path, command: str) -> None:
    done = bash(f"{GRAPHOPT} {command} | true", tmp_path)
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_is_no_error(small: Path, tmp_path: Path, closed: str) -> None:
    done = bash(f"{GRAPHOPT} run small.onnx -o x.onnx {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "x.onnx").exists()


def test_a_full_disk_for_the_answer_is_an_error(small: Path, tmp_path: Path) -> None:
    done = bash(f"{GRAPHOPT} passes > /dev/full", tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("color", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_there_are_no_escape_codes_in_a_file(shell: Shell, small: Path, color: dict[str, str]) -> None:
    done = shell("run", "small.onnx", "-o", "out", env=color)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout + done.stderr


def test_no_color_holds_on_a_terminal_too(small: Path, tmp_path: Path) -> None:
    plain = bash(f'NO_COLOR=1 TERM=xterm script -qec "{GRAPHOPT} passes" /dev/null', tmp_path)
    if plain.returncode == 127:
        pytest.skip("there is no `script` here to make a terminal with")
    assert "fuse-conv-bn" in plain.stdout
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain.stdout)
