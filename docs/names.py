"""What mkdocstrings calls for each object: `mean, std: how images become tensors.` becomes a line for each name."""

from __future__ import annotations

import re
from typing import Any

import griffe

SEVERAL = re.compile(r"^( +)((?:\w+, )+\w+): (.*(?:\n\1 +.*)*)$", re.MULTILINE)


class Names(griffe.Extension):
    """Splits lines of a docstring that speak of several names."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = SEVERAL.sub(_each, obj.docstring.value)


def _each(line: re.Match[str]) -> str:
    return "\n".join(f"{line[1]}{name}: {line[3]}" for name in line[2].split(", "))
