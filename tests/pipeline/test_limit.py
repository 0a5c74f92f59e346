"""A call with a limit on its time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from graphopt.errors import PassError
from graphopt.pipeline.limit import within


def test_what_ends_in_time_gives_its_answer_and_raises_its_own_errors() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(KeyError, match="mine"):
        within(5, lambda: {}["mine"])
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        within(5, lambda: np.ones(1) / np.zeros(1))


def test_a_loop_is_ended_and_leaves_no_thread() -> None:
    rounds = []

    def loop() -> None:
        while True:
            rounds.append(1)
            del rounds[:-1]

    start = time.monotonic()
    with pytest.raises(PassError, match=r"did not end within 0\.2 s"):
        within(0.2, loop)
    assert time.monotonic() - start < 5
    assert not any(thread.name == "graphopt-pass" for thread in threading.enumerate())


def test_what_heeds_nothing_is_left_behind() -> None:
    free = threading.Event()
    with pytest.raises(PassError):
        within(0.1, lambda: free.wait(60))
    free.set()


def test_calls_in_several_threads_end_each_on_its_own() -> None:
    def call(seconds: float) -> str:
        try:
            return within(0.5, lambda: time.sleep(seconds) or "done")
        except PassError:
            return "ended"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, [0.0, 1.2, 0.0, 1.2])) == ["done", "ended", "done", "ended"]
