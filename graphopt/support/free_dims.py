"""The free dimensions of a model's inputs, as the options of the command line that fix them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from graphopt.ir.infer import anonymous

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST: Final = 6
"""How many are named."""


def free_dims(model: ir.Model) -> str:
    """As "--dim batch=SIZE --dim x=1x3xNxN"; "" where all dimensions are fixed.

    A dimension without a name can only be fixed with the whole shape of its input.
    """
    options: dict[str, None] = {}
    for value in model.graph.inputs:
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        if value.is_initializer():
            continue
        if any(anonymous(dim) for dim in dims):
            whole = "x".join(str(dim) if isinstance(dim, int) and dim >= 0 else "N" for dim in dims)
            options[f"--dim {value.name}={whole}"] = None
        else:
            options.update((f"--dim {dim}=SIZE", None) for dim in dims if isinstance(dim, str))
    return " ".join([*options][:_MOST]) + " …" * (len(options) > _MOST)
