"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass
class Staged:
    """A file that is being written.

    Attributes:
        out: takes the bytes.
        path: where the file goes in the end; may be changed until then.
    """

    out: BinaryIO
    path: Path


@contextmanager
def atomic(path: Path) -> Iterator[Staged]:
    """Open a temporary file beside `path` for writing; rename it to `path` when the block ends well.

    Whoever looks, also after a crash of this process, finds the old file or the new one. The disk is not waited for:
    what a power cut takes can be made again.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or ".")
    try:
        with os.fdopen(handle, "wb") as out:
            staged = Staged(out, path)
            yield staged
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, staged.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
