"""What inference found out of a value is recorded only where it says more than what is proven already."""

from __future__ import annotations

import onnx_ir as ir

from graphopt.ir.edit import set_shape, shape_of
from graphopt.ir.symbolic import is_made_up


def learn_shape(value: ir.Value, dims: list[int | str | None], *, derived: bool = False) -> bool:
    """Take over a proven shape where it says more than the proven shape so far.

    A number says more than any name, and a name of the user's more than one that inference made up. Of two made-up
    names the first stays, unless the second was derived from the shapes of inputs: those, not the first, is what other
    sizes derived from them are equal to.

    Returns:
        Whether anything was taken.
    """
    known = shape_of(value)
    if known is not None and len(known) == len(dims):
        old = [d if isinstance(d, int) else d.value for d in known]
        dims = [o if _keep(o, d, derived) else d for o, d in zip(old, dims, strict=True)]
        if old == dims:
            return False
    set_shape(value, ir.Shape(dims))
    return True


def _keep(old: int | str | None, new: int | str | None, derived: bool) -> bool:
    if isinstance(old, int) or new is None:
        return True
    if old is None or isinstance(new, int):
        return False
    return not is_made_up(old) or (is_made_up(new) and not derived)
