"""A limit on the time of a call, for code that nobody here has read.

The call runs in a thread of its own. When its time is over, an exception is raised inside it, which ends every loop
of Python; what does not heed it (C code that never returns, a loop that catches everything) is left behind: the run
goes on with a model that the thread has never seen, and the thread ends with the process.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from graphopt.errors import PassError

T = TypeVar("T")

_GRACE: Final = 1.0
"""Seconds that a call gets to end once it was told to."""


class _Stop(BaseException):
    """Raised inside a call whose time is over; not an `Exception`, since many catch those."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Call, and wait for `seconds` at most.

    Raises:
        PassError: the time was over.
    """
    answer: list[T] = []
    failure: list[BaseException] = []
    around = contextvars.copy_context()  # numpy's error state is the caller's

    def work() -> None:
        try:
            answer.append(around.run(call))
        except BaseException as error:  # noqa: BLE001 (it is raised again in the thread that waits)
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name="graphopt-pass")
    thread.start()
    try:
        thread.join(seconds)
    except BaseException:
        _stop(thread)
        raise
    if thread.is_alive():
        _stop(thread)
        thread.join(_GRACE)
        raise PassError(f"did not end within {seconds:g} s")
    if failure:
        raise failure[0]
    return answer[0]


def _stop(thread: threading.Thread) -> None:
    set_exception: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_exception(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stop))
