"""Sizes and samples that several models can take, so that their answers or their speed can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.verify.dims import Dims, check_dims, concrete_shapes, fixed, real_inputs

Signature: TypeAlias = Mapping[str, tuple[int | None, ...]]
"""Shape of each input by name, None for an open size."""


def signature(model: ir.Model) -> dict[str, tuple[int | None, ...]]:
    """The shapes that a model declares for its inputs; those without a shape are left out."""
    return {
        value.name or "": tuple(fixed(value, axis) for axis in range(len(value.shape)))
        for value in real_inputs(model)
        if value.shape is not None
    }


def dims_of(model: ir.Model, dims: Dims, models: Sequence[ir.Model]) -> dict[str, int | tuple[int, ...]]:
    """The sizes that concern one of several models: what it lacks or has fixed may be another's.

    Raises:
        UserError: a size concerns none of the models.
    """
    for name, size in dims.items():
        if not any(_fits(one, name, size) for one in models):
            check_dims(models[0], {name: size})
    return {name: size for name, size in dims.items() if _fits(model, name, size)}


def shared_dims(model: ir.Model, dims: Dims, others: Sequence[Signature]) -> dict[str, int | tuple[int, ...]]:
    """Sizes for a model at which others can run too: theirs, where they are fixed and the model's are open.

    Args:
        model: the model.
        dims: sizes that the user gave and that concern it.
        others: what the other models take; channels may be last where the model has them first.

    Returns:
        `dims`, and the whole shape of every input that another model decides.
    """
    base, shapes = concrete_shapes(model, dims), {}
    for value in real_inputs(model):
        name = value.name or ""
        mine = tuple(fixed(value, axis) for axis in range(len(base[name])))
        shape = list(base[name])
        for other in others:
            theirs = next((one for one in _orders(other.get(name, ())) if _agree(mine, one)), ())
            for axis, size in enumerate(theirs):
                if mine[axis] is None and size is not None:
                    shape[axis] = size
        if tuple(shape) != base[name]:
            shapes[name] = tuple(shape)
    return {**dims, **shapes}


def _fits(model: ir.Model, name: str, size: int | tuple[int, ...]) -> bool:
    try:
        check_dims(model, {name: size})
    except UserError:
        return False
    return True


def _orders(shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
    """A shape as it is, and with its last axis as the second."""
    return [shape, (shape[0], shape[-1], *shape[1:-1])] if len(shape) > 2 else [shape]


def _agree(mine: Sequence[int | None], theirs: Sequence[int | None]) -> bool:
    return len(mine) == len(theirs) and all(a is None or b is None or a == b for a, b in zip(mine, theirs, strict=True))
