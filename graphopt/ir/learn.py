"""What inference found out of a value is recorded only where it says more than what is proven already."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import set_shape, shape_of
from graphopt.ir.symbolic import MADE_UP


def learn_shape(value: ir.Value, dims: list[int | str | None]) -> bool:
    """Take over a proven shape where it says more than the proven shape so far."""
    known = shape_of(value)
    if known is not None and len(known) == len(dims):
        old = [d if isinstance(d, int) else d.value for d in known]
        dims = [o if isinstance(o, int) or d is None or _better(o, d) else d for o, d in zip(old, dims, strict=True)]
        if old == dims:
            return False
    set_shape(value, ir.Shape(dims))
    return True


def _better(old: str | None, new: int | str) -> bool:
    # A number says more than any name, and a name of the user's more than one that inference made up.
    return old is not None and isinstance(new, str) and (new.startswith(MADE_UP) or not old.startswith(MADE_UP))
