"""The parent's handle on a worker: a process that holds one model and answers one order after the other."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from graphopt.errors import GraphoptError, ModelError


class BenchError(GraphoptError):
    """A model could not be run."""


class Process:
    """A worker for one model; a context manager that ends it.

    Args:
        file: the model, named in errors.
        timeout: seconds that one order may take.
    """

    def __init__(self, file: str, timeout: float) -> None:
        self.file, self._timeout, self._read = file, timeout, b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "graphopt.bench.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *rest: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def ask(self, order: str, **arguments: Any) -> Any:
        """Give an order of `graphopt.bench.worker.Worker` and wait for the answer.

        Raises:
            ModelError: the file is not what its runtime reads.
            BenchError: the runtime cannot run it, crashed, or gave no answer in time.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"do": order, **arguments}).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.file}: the runtime {self._end()}") from None
        answer = json.loads(self._line())
        if "error" in answer:
            words = " ".join(answer["error"].split())
            if answer["kind"] == ModelError.__name__:
                raise ModelError(words)
            raise BenchError(f"{self.file}: cannot be run: {words}")
        return answer["value"]

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        stream, end = self._child.stdout.fileno(), time.monotonic() + self._timeout
        while b"\n" not in self._read:
            ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise BenchError(f"{self.file}: no answer in {self._timeout:.0f} s; --timeout gives it longer")
            block = os.read(stream, 1 << 16)
            if not block:
                raise BenchError(f"{self.file}: the runtime {self._end()}")
            self._read += block
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _end(self) -> str:
        """How the process ended, with its last words."""
        code = self._child.wait()
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {said[-1][:300]}" if said else how
