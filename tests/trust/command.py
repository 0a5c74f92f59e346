"""The command line as a process of its own: begun, waited for, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_LAUNCH = """
import pathlib, sys
import onnxruntime, graphopt.api, graphopt.cli.run
from graphopt.cli.main import main
pathlib.Path(sys.argv.pop(1)).touch()
main()
"""
"""Says that the imports are done, so that a test knows when a signal meets the command itself."""


def begin(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `graphopt ARGUMENTS` in a folder.

    What it prints goes to FOLDER.out and FOLDER.err; FOLDER.ready is there once it has begun.
    """
    ready = Path(f"{folder}.ready")
    ready.unlink(missing_ok=True)
    with open(f"{folder}.out", "wb") as out, open(f"{folder}.err", "wb") as err:
        return subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, ready, *arguments],
            cwd=folder, stdout=out, stderr=err, env={**os.environ, **(env or {})}, preexec_fn=before,
            start_new_session=True,
        )  # fmt: skip


def run(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> tuple[int, str]:
    """Run a command; its exit code, and what it said on standard error."""
    code = begin(folder, *arguments, env=env, before=before).wait(timeout=300)
    return code, Path(f"{folder}.err").read_text(encoding="utf-8", errors="surrogateescape")
