"""One command in a forked process under limits: how it ended, what it said, took and wrote."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_SECONDS = 10.0
RESIDENT = 2 << 30
_WALL_SECONDS = 40.0
_ADDRESSES = 8 << 30
"""A process may ask for more memory than a machine has; this keeps the machine alive where it would then use it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes:
        code: its exit code, the negative number of the signal that ended it, or None where it was stopped.
        out, err: what it printed.
        seconds: of CPU time, so that a busy machine changes nothing.
        resident: the most bytes of memory that it held.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    resident: int

    def trouble(self) -> str:
        """What is wrong with this end; empty where nothing is."""
        if self.code is None:
            return f"no end in {_WALL_SECONDS:.0f} s"
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        if "Traceback (most recent call last)" in self.err:
            return "traceback: " + self.err.strip().splitlines()[-1]
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        if self.code == 2 and (not self.err.startswith("graphopt: ") or self.err.count("\n") != 1 or self.out):
            return f"not one line: {self.err!r}"
        if self.seconds > CPU_SECONDS:
            return f"{self.seconds:.0f} s"
        if self.resident > RESIDENT:
            return f"{self.resident >> 20} MiB of memory"
        return ""


def attempt(main: Callable[[], object], arguments: Sequence[str], folder: Path) -> Outcome:
    """Run `main` as the command `graphopt ARGUMENTS` in `folder`, in a fork of this process."""
    said = [folder.parent / f"{folder.name}.{stream}" for stream in ("out", "err")]
    child = os.fork()
    if child == 0:
        _be(main, arguments, folder, said)
    code, usage = _wait(child)
    out, err = (file.read_text(errors="replace") for file in said)
    return Outcome(code, out, err, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _be(main: Callable[[], object], arguments: Sequence[str], folder: Path, said: Sequence[Path]) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        for number, file in enumerate(said, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(_WALL_SECONDS),) * 2)  # also where the parent is gone
        os.environ["GRAPHOPT_MEMORY"] = str(RESIDENT)
        sys.argv = ["graphopt", *arguments]
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001 (as the interpreter would)
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(child: int) -> tuple[int | None, resource.struct_rusage]:
    handle = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([handle], [], [], _WALL_SECONDS)
    finally:
        os.close(handle)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return (os.waitstatus_to_exitcode(status) if ended else None), usage
