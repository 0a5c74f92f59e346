"""Verdict functions for the harness's tests; they run in its child processes, so they live in a file of their own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


def onnxruntime_cpu(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """A real toolchain that everyone has: onnxruntime's CPU provider."""
    import onnxruntime as ort

    answer: dict[str, Any] = {"claimed": True, "compiled": False, "ran": None, "numerics": None, "error": ""}
    try:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the verdict of the toolchain under test
        return answer | {"claimed": False, "error": str(error)}
    with np.load(inputs) as feed, np.load(expected) as right:
        outputs = session.run(None, dict(feed))
        names = [output.name for output in session.get_outputs()]
        same = all(np.allclose(a, right[n], rtol=1e-2, atol=1e-2) for n, a in zip(names, outputs, strict=True))
    return answer | {"compiled": True, "ran": True, "numerics": "pass" if same else "fail", "realized_as": ["op"]}


def moody(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Takes rank 4; crashes on rank 1, hangs on rank 2, raises on rank 3, is wrong on rank 5, refuses rank 6."""
    with np.load(inputs) as feed:
        rank = next(iter(feed.values())).ndim
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if rank == 2:
        time.sleep(600)
    if rank == 3:
        raise RuntimeError("no three")
    if rank == 6:
        return {"claimed": False, "compiled": False, "error": "too many\naxes"}
    return {"claimed": True, "compiled": True, "ran": True, "numerics": "fail" if rank == 5 else "pass"}


def slow(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Takes everything, after two seconds."""
    time.sleep(2)
    return {"claimed": True, "compiled": True, "ran": True, "numerics": "pass"}


def interrupted(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """As moody, but its parent gets an interrupt, once, at the fourth probe that is asked."""
    folder = Path(os.environ["GRAPHOPT_TEST_FOLDER"])
    asked = len(list(folder.glob("asked-*")))
    (folder / f"asked-{asked}").touch()
    if asked == 3:
        os.kill(int(os.environ["GRAPHOPT_TEST_PARENT"]), signal.SIGINT)
        time.sleep(30)
    return moody(model, inputs, expected)
