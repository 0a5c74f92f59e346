"""What a child process does for the backend: write the optimized model, and run it."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt_onnxruntime.session import open_session, run


def compile_model(model: str, out: str, level: str, threads: int, provider: str) -> dict[str, Any]:
    """Open a model, write what onnxruntime made of it to `out`, and open that again.

    Returns:
        `refused`: onnxruntime's words, "" where it took the model; `providers`: where it runs.
    """
    try:
        open_session(model, level=level, threads=threads, provider=provider, write=out)
        # What was optimized once is not optimized again: it may hold operators that only this level makes.
        again = open_session(out, level="none", threads=threads, provider=provider)
    except Exception as error:  # noqa: BLE001 (onnxruntime's errors share no other base)
        return {"refused": " ".join(str(error).split())}
    return {"refused": "", "providers": again.get_providers()}


def run_samples(artifact: str, threads: int, provider: str, inputs: list[str], outputs: list[str]) -> list[str]:
    """Run the artifact on samples.

    Args:
        artifact: the file that `compile_model` wrote.
        threads: for one operator.
        provider: cpu or cuda.
        inputs: a .npz for each sample.
        outputs: where to write the .npz of its answers, by position.

    Returns:
        Names of the outputs.
    """
    session = open_session(artifact, level="none", threads=threads, provider=provider)
    names: list[str] = []
    for given, wanted in zip(inputs, outputs, strict=True):
        with np.load(given) as stored:
            answers = run(session, dict(stored))
        names = list(answers)
        np.savez(wanted, *answers.values())
    return names
