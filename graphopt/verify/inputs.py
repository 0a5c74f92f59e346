"""Sample inputs from nothing but the model: right in dtype and shape, and of values that the graph can digest.

The samples differ in kind, since a rewrite that is wrong only for negative, large or zero values must show: normal,
uniform in [0, 1), normal of ten times the size, and sparse with zeros of both signs, in turn. Never NaN or infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.verify.dims import Dims, concrete_shapes, real_inputs
from graphopt.verify.roles import Context, Role, role
from graphopt.verify.types import Array, Sample

MOST_BYTES = 2 << 30
"""Bytes of all samples together beyond which none are generated."""
_WORD_BYTES = 8
WORDS = ("graph", "rewriting", "", "Ünïcödé", "0")


def generate(model: ir.Model, *, dims: Dims | None = None, samples: int = 4, seed: int = 0) -> list[Sample]:
    """Generate inputs for a model from its signature and from what its nodes do with each input.

    Args:
        model: the model.
        dims: sizes of symbolic dimensions and shapes of inputs, see `graphopt.verify.dims`.
        samples: how many.
        seed: the same seed gives the same samples, whatever the order of the inputs.

    Returns:
        One mapping from input name to array for each sample. Inputs with a default value are left out.

    Raises:
        UserError: an input has no shape, is a sequence or an optional, or is too large; `dims` does not fit the model.
    """
    values = real_inputs(model)
    signature = []
    for value in values:
        if (
            value.dtype is None
            or value.dtype == ir.DataType.UNDEFINED
            or isinstance(value.type, (ir.SequenceType, ir.OptionalType))
        ):
            raise UserError(
                f"the input {value.name!r} is a {value.type or 'value without a type'}, for which no sample "
                "can be generated: give a model whose inputs are tensors, or turn verification off"
            )
        signature.append((value.name or "", value.dtype))
    shapes = concrete_shapes(model, dims)
    _fit(signature, shapes, samples)
    context = Context.of(model, shapes)
    roles = {value.name or "": role(value, context) for value in values}
    return [
        {
            name: fill(roles[name], dtype, context.shapes[name], index, np.random.default_rng([seed, index, place]))
            for place, (name, dtype) in enumerate(signature)
        }
        for index in range(samples)
    ]


def _fit(signature: Sequence[tuple[str, ir.DataType]], shapes: dict[str, tuple[int, ...]], samples: int) -> None:
    sizes = {
        name: math.prod(shapes[name]) * (dtype.itemsize if dtype != ir.DataType.STRING else _WORD_BYTES)
        for name, dtype in signature
    }
    if samples * sum(sizes.values()) > MOST_BYTES:
        name = max(sizes, key=lambda one: sizes[one])
        raise UserError(
            f"the input {name!r} of shape {list(shapes[name])} is too large to generate {samples} samples of: make it "
            "smaller by --dim, give fewer --samples, or turn verification off"
        )


def fill(role: Role, dtype: ir.DataType, shape: tuple[int, ...], index: int, rng: np.random.Generator) -> Array:
    """Make the array of one input in sample number `index`, which selects the kind of values."""
    if dtype == ir.DataType.STRING:
        return rng.choice(np.array(WORDS, dtype=object), size=shape)
    if role.kind == "mask":
        content = _mask(shape, index, rng)
    elif role.kind == "choice":
        content = np.full(shape, role.values[index % len(role.values)])
    elif role.kind == "vector":
        size = math.prod(shape)
        content = np.array([*role.values, *role.values[-1:] * size][:size]).reshape(shape)
    elif role.kind == "index":
        content = rng.integers(0, max(int(role.high or 1), 1), shape)
    elif role.kind == "position":
        content = np.broadcast_to(np.arange(shape[-1] if shape else 1) % int(role.high or 2**31), shape or (1,))
        content = content.reshape(shape)
    elif dtype.is_integer():
        content = _integers(role, dtype, shape, rng)
    else:
        content = _floats(role, shape, index, rng)
    if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
        content = content + 1j * rng.standard_normal(shape)
    return np.asarray(content).astype(dtype.numpy())


def _mask(shape: tuple[int, ...], index: int, rng: np.random.Generator) -> Array:
    """All ones, then a run of ones as padding leaves it, then scattered ones; never a row without a one."""
    if not shape or index % 3 == 0:
        return np.ones(shape)
    if index % 3 == 1:
        lengths = rng.integers(1, shape[-1] + 1, (*shape[:-1], 1)) if shape[-1] else np.zeros((*shape[:-1], 1))
        return np.arange(shape[-1]) < lengths
    mask = rng.random(shape) < 0.5
    mask[..., :1] = True
    return mask


def _integers(role: Role, dtype: ir.DataType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if role.low is not None and role.high is not None:
        return rng.integers(math.ceil(role.low), math.floor(role.high) + 1, shape)
    if dtype.itemsize <= 1:  # a quantized signal or the pixels of an image use their whole range
        return rng.integers(int(dtype.min), int(dtype.max) + 1, shape)
    return rng.integers(0, 5, shape)


def _floats(role: Role, shape: tuple[int, ...], index: int, rng: np.random.Generator) -> Array:
    if role.low is not None and role.high is not None:
        return rng.uniform(role.low, role.high, shape)
    kind = index % 4
    if kind == 1:
        return rng.random(shape)
    normal = rng.standard_normal(shape)
    if kind == 2:
        return normal * 10
    if kind == 3:
        return normal * (rng.random(shape) < 0.3)  # a product of a negative number and 0 is -0: zeros of both signs
    return normal
