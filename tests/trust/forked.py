"""The command line in a fork of this process: as a process of its own, without the second that imports take."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from graphopt.cli.main import main

for heavy in ("onnx", "onnxruntime", "graphopt.api", "graphopt.verify", "graphopt.cli.run"):
    importlib.import_module(heavy)


def begin(folder: Path, *arguments: str, before: Callable[[], object] = lambda: None) -> int:
    """Start `graphopt ARGUMENTS` in a folder; what it prints goes to FOLDER.out and FOLDER.err. Returns its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        for number, suffix in ((1, "out"), (2, "err")):
            file = os.open(f"{folder}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (until the end)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.argv = ["graphopt", *arguments]
        before()
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 (as the interpreter would)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def end(child: int) -> int:
    """Wait for a process; its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(folder: Path, *arguments: str, before: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Run a command; its exit code, and what it said on standard error."""
    code = end(begin(folder, *arguments, before=before))
    return code, Path(f"{folder}.err").read_text(encoding="utf-8", errors="surrogateescape")
