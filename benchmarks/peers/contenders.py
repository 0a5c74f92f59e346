"""The tools that are measured, each by the command that anyone would type, and how one run of a command is measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OURS = "graphopt"
RIVALS = ("onnxsim", "onnxslim")
"""Those that our time is held against."""


def commands(peers: Path) -> dict[str, list[str]]:
    """The command of each tool, to which input and output are appended.

    Args:
        peers: the environment in which the peers are installed.
    """
    python, adapter = str(peers / "bin" / "python"), str(HERE / "adapter.py")
    graphopt = str(Path(sys.executable).parent / "graphopt")
    return {
        OURS: [graphopt, "run", "--verify", "off", "--quiet"],
        "onnxsim": [str(peers / "bin" / "onnxsim")],
        "onnxslim": [str(peers / "bin" / "onnxslim")],
        "onnxoptimizer": [python, "-m", "onnxoptimizer"],
        "onnxscript": [python, adapter, "onnxscript"],
        "onnxruntime": [python, adapter, "onnxruntime"],
    }


def with_files(tool: str, command: Sequence[str], model: Path, result: Path) -> list[str]:
    """The whole command line for one model."""
    if tool == OURS:
        return [*command, str(model), "-o", str(result)]
    external = tool == "onnxruntime" and model.with_name(f"{model.name}.data").exists()
    return [*command, str(model), str(result), *(["--external"] if external else [])]


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes:
        code: exit code; negative where a signal ended it.
        seconds: from start to end.
        cpu: seconds of all its processors together.
        peak: bytes resident at most.
        error: the last line that it wrote where it failed.
    """

    code: int
    seconds: float
    cpu: float
    peak: int
    error: str = ""


def run(command: Sequence[str], limit: float) -> Run:
    """Run a command in a process group of its own, for at most `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        timed = [sys.executable, "-I", "-S", str(HERE / "timed.py"), str(limit), str(log)]
        done = subprocess.run([*timed, *command], capture_output=True, text=True, check=True)
        facts = json.loads(done.stdout)
        error = ""
        if facts["code"]:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            error = f"took more than {limit:.0f} s" if facts["seconds"] >= limit else (lines or ["no word"])[-1][:300]
    return Run(error=error, **facts)
