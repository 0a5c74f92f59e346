"""onnxruntime's verdict on one small model, for `graphopt probe -b onnxruntime`."""

from __future__ import annotations

from typing import Any

from graphopt.testing.prober import answer
from graphopt_onnxruntime.session import open_session, run


def verdict(model: str, inputs: str, expected: str) -> dict[str, Any]:
    """Open and run one model on the CPU, optimized as by default; see `graphopt.testing.prober.answer`.

    The right answers are onnxruntime's own without optimizations where it has the operator, so that this finds what it
    lacks and what its optimizations break.
    """
    return answer(model, inputs, expected, compile=lambda path: open_session(path, threads=1), run=run)
