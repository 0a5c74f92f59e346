"""The operators that the channel graph knows, a file a family; importing this registers them."""

from graphopt.channels.operators import (
    attention,
    control,
    conv,
    elementwise,
    linear,
    norm,
    recurrent,
    reduction,
    resample,
    select,
    shape,
)

__all__ = [
    "attention", "control", "conv", "elementwise", "linear", "norm", "recurrent", "reduction", "resample", "select",
    "shape",
]  # fmt: skip
