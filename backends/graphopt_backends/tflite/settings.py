"""How a file is written: what the user may choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Options:
    """Options of the backend."""

    hybrid: bool = False
    """compute with int8 weights as they are, and quantize what they are multiplied with at run time: faster, and not
    what the model says to the last digit."""
    io_layout: Literal["keep", "nhwc", "nchw"] = "keep"
    """order of axes of images at the file's interface: as in the model, channels last, or channels first."""


PLAIN = Options()
"""Nothing chosen."""
