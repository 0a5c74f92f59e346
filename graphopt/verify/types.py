"""The two words that this folder shares: an array of any element type, and one sample of a model's inputs."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Sample: TypeAlias = dict[str, Array]
