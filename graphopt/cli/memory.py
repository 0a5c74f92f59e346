"""A bound on the memory of a command, so that a model which asks for too much ends the command and not the machine."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from graphopt.errors import UserError

VARIABLE = "GRAPHOPT_MEMORY"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """While the block runs, bound what this process may allocate.

    By what is free when it begins, or by the variable GRAPHOPT_MEMORY: "8G", "500M", "0" for no bound.
    The bound is on private memory that can be written (RLIMIT_DATA), so weights that are mapped from a file are free.

    Raises:
        UserError: the variable holds no size.
    """
    told = os.environ.get(VARIABLE)
    limit = _free() if told is None else _size(told)
    before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit and (soft == resource.RLIM_INFINITY or limit < soft):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UserError(f"{VARIABLE}={text} is not a size: write 8G, 500M, or 0 for no bound")
    return int(found[1]) * _UNITS[found[2].upper()]


def _free() -> int:
    """Bytes that are free or can be had by writing caches and swap, 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
    return fields.get("MemAvailable", 0) + fields.get("SwapFree", 0)
