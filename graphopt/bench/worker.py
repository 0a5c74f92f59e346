"""The child: loads one model and runs it when it is told to. A line of JSON comes in, a line goes out.

Nothing but the runtime is imported, so that the memory of the process is the runtime's and the model's.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from graphopt.parcel import unpack


class Running(Protocol):
    """A model that is loaded and has its inputs.

    Attributes:
        runtime: what runs it, as "onnxruntime 1.27.0, CPU".
        note: "" where it takes the samples as they are, else what it takes instead.
        signature: the shape of each input by name, null for an open size.
    """

    runtime: str
    note: str
    signature: dict[str, list[int | None]]

    def run(self) -> object:
        """Run it once; what it answers is not looked at."""

    def profile(self, runs: int) -> list[dict[str, Any]] | str:
        """Seconds of one run of each operator, as {"name", "op_type", "seconds"}; why not, where that is not known."""


class Worker:
    """What the parent can ask for; the methods without an underscore are the orders."""

    def __init__(self) -> None:
        self._model: Running | None = None

    def load(self, runner: str, file: str, sample: str, threads: int, optimization: str) -> dict[str, Any]:
        """Open a model with `module:function` and run it once."""
        (given,) = unpack(Path(sample).read_bytes())
        _opener(runner)  # what its libraries take is not the model's
        before, start = peak_memory(), time.perf_counter()
        model = _open(runner, file, given, threads=threads, optimization=optimization)
        loaded = time.perf_counter()
        model.run()
        self._model = model
        return {
            "runtime": model.runtime, "note": model.note, "load": loaded - start,
            "first": time.perf_counter() - loaded, "base_bytes": before, "peak_bytes": peak_memory(),
        }  # fmt: skip

    def signature(self, runner: str, file: str) -> dict[str, list[int | None]]:
        """What a model takes."""
        return _open(runner, file, {}, threads=1, optimization="all").signature

    def turn(self, times: int) -> list[float]:
        """Run the model and return the seconds of every run."""
        assert self._model is not None
        run, clock, seconds = self._model.run, time.perf_counter, []
        for _ in range(times):
            start = clock()
            run()
            seconds.append(clock() - start)
        return seconds

    def profile(self, runs: int) -> list[dict[str, Any]] | str:
        """What each operator takes."""
        assert self._model is not None
        return self._model.profile(runs)


def _open(runner: str, file: str, sample: Mapping[str, Any], *, threads: int, optimization: str) -> Running:
    model: Running = _opener(runner)(file, sample, threads=threads, optimization=optimization)
    return model


def _opener(runner: str) -> Callable[..., Any]:
    module, _, name = runner.partition(":")
    opener: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return opener


def peak_memory() -> int:
    """Bytes of memory that this process has had at most, libraries included.

    Linux counts what `getrusage` tells from the process that started this one, so its own file is asked where it is.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "")
        if line:
            return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _serve() -> None:
    # The runtime may print: what it says goes to standard error, answers alone to the parent.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        worker = Worker()
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"value": getattr(worker, order.pop("do"))(**order)}
            except Exception as error:  # noqa: BLE001 (whatever the runtime raised is the parent's result)
                answer = {"error": str(error), "kind": type(error).__name__}
            print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    _serve()
