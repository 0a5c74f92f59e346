"""Run a function in a process of its own, with a limit on time and memory, so that a vendor's crash is a result.

    result = call("graphopt_backends.snpe.compiler:compile_model", {"model": "m.onnx"}, timeout=60)

The function receives the payload as keyword arguments and returns something JSON-able. Arrays travel through files
that the payload names. What the vendor's library prints on its standard output and error is kept in the exception
or thrown away: it never mixes with graphopt's own output.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphopt.errors import GraphoptError


class ChildError(GraphoptError):
    """The child did not return a result.

    Attributes:
        kind: "crash", "timeout" or "error" (a Python exception in the child).
        log: the last part of what the child printed.
    """

    def __init__(self, kind: str, message: str, log: str = "") -> None:
        self.kind, self.log = kind, log
        super().__init__(message)


def call(function: str, payload: Mapping[str, Any], *, timeout: float, memory: int | None = None) -> Any:
    """Call `module:function(**payload)` in a fresh process and return its JSON-able result.

    Args:
        function: where it is, as "package.module:function".
        payload: keyword arguments, JSON-able.
        timeout: seconds of wall time before the child and its children are killed.
        memory: limit of the child's address space in bytes, None for no limit.

    Raises:
        ChildError: the child crashed, hung, or raised.
    """
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log")
        job = json.dumps({"function": function, "payload": dict(payload), "answer": str(answer), "memory": memory})
        with log.open("wb") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", "graphopt.support.child"],
                stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=folder, start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )  # fmt: skip
            try:
                child.communicate(job.encode(), timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill(child)
                raise ChildError("timeout", f"no answer in {timeout:.0f} s", _tail(log)) from None
            except BaseException:
                _kill(child)
                raise
        if not answer.exists():
            code = child.returncode
            what = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ChildError("crash", f"the process ended with {what}", _tail(log))
        result = json.loads(answer.read_text())
        if "error" in result:
            raise ChildError("error", result["error"], _tail(log))
        return result["value"]


def machine_memory() -> int:
    """Bytes of memory that this machine has: what a vendor's child may take, so that it ends instead of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _kill(child: subprocess.Popen[bytes]) -> None:
    # The child leads a session of its own, so its whole family goes with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(log: Path, size: int = 4000) -> str:
    return log.read_bytes()[-size:].decode(errors="replace")


def _main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    import resource

    # The bound on this child takes the place of the parent's own.
    resource.setrlimit(resource.RLIMIT_DATA, (resource.getrlimit(resource.RLIMIT_DATA)[1],) * 2)
    if job["memory"]:
        resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
    module, _, name = job["function"].partition(":")
    try:
        answer = {"value": getattr(importlib.import_module(module), name)(**job["payload"])}
    except Exception as error:  # noqa: BLE001 (whatever the vendor raised is the parent's result)
        answer = {"error": f"{type(error).__name__}: {error}"}
    target = Path(job["answer"])
    target.with_suffix(".part").write_text(json.dumps(answer))
    target.with_suffix(".part").replace(target)
    sys.stdout.flush()
    os._exit(0)  # some vendors' libraries crash while unloading, after the work is done


if __name__ == "__main__":
    _main()
