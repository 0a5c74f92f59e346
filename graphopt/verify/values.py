"""Values that the user gives to inputs, so that what they decide is decided before the model runs.

    --set sr=16000           the value of an input with one element
    --set pads=0,1,1,0       the values of an input with several, in order

Such an input has a default value: whoever runs the model need not feed it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.verify.dims import Dims

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def parse_values(texts: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE` into a mapping from the input's name to the text of its value.

    Raises:
        UserError: a text is not of that form, or gives one input two values.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = text.rpartition("=")  # the name of an input may itself hold "="
        if not name or not value:
            raise UserError(f"--set {text!r} is not NAME=VALUE: write sr=16000 or pads=0,1,1,0")
        if values.setdefault(name, value) != value:
            raise UserError(f"--set gives {name!r} twice, as {values[name]} and {value}: give it once")
    return values


def give_values(model: ir.Model, values: Mapping[str, Any], dims: Dims | None = None) -> None:
    """Give inputs a value as their default, in place.

    Args:
        model: the model.
        values: by input name: a number, a list, an array, or text as on the command line.
        dims: sizes of dynamic dimensions, as for `concrete_shapes`.

    Raises:
        UserError: the model has no such input, or the value does not fit it.
    """
    inputs = {value.name or "": value for value in model.graph.inputs}
    for name, given in values.items():
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(inputs) or 'none'}"
            raise UserError(f"the model has no input {name!r} to set: {hint}")
        value = inputs[name]
        value.const_value = _tensor(value, given, dims or {})
        if name not in model.graph.initializers:
            model.graph.register_initializer(value)


def _tensor(value: ir.Value, given: Any, dims: Dims) -> ir.TensorProtocol:
    if value.dtype is None or isinstance(value.type, ir.SequenceType | ir.OptionalType):
        raise UserError(f"the input {value.name!r} is no tensor: it cannot be set")
    items = given.split(",") if isinstance(given, str) else np.asarray(given, dtype=object).reshape(-1).tolist()
    kind = value.dtype
    try:
        elements = [_element(item.strip() if isinstance(item, str) else item, kind) for item in items]
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"the input {value.name!r} is of type {kind.name.lower()}, which {given!r} is not") from None
    shape = _shape(value, len(elements), dims)
    if kind.is_string():
        return ir.StringTensor([text.encode() for text in elements], shape=ir.Shape(shape), name=value.name)
    return ir.Tensor(np.array(elements, kind.numpy()).reshape(shape), dtype=kind, name=value.name)


def _element(item: Any, kind: ir.DataType) -> Any:
    """One element, as Python holds it.

    Raises:
        ValueError, TypeError, OverflowError: it is not of that type, or beyond its range.
    """
    if kind.is_string():
        return str(item)
    if kind == ir.DataType.BOOL:
        if str(item).lower() not in _TRUTH:
            raise ValueError
        return _TRUTH[str(item).lower()]
    if kind.is_integer():
        number = int(item)
        if (not isinstance(item, str) and number != item) or not int(kind.min) <= number <= int(kind.max):
            raise ValueError
        return number
    if not kind.is_floating_point():
        raise TypeError
    return float(item)


def _shape(value: ir.Value, count: int, dims: Dims) -> tuple[int, ...]:
    whole = dims.get(value.name or "")
    if isinstance(whole, tuple):
        sizes: list[int | None] = list(whole)
    elif value.shape is not None:
        found = [d if isinstance(d, int) else dims.get(d.value or "") for d in value.shape]
        sizes = [d if isinstance(d, int) and d >= 0 else None for d in found]
    else:
        sizes = [] if count == 1 else [None]
    if sizes == [None]:
        return (count,)
    shape = tuple(size for size in sizes if size is not None)
    if len(shape) < len(sizes):
        raise UserError(f"the input {value.name!r} has the shape {value.shape}: give its sizes with --dim to set it")
    if int(np.prod(shape)) != count:
        wanted = int(np.prod(shape))
        raise UserError(f"the input {value.name!r} takes {wanted} (shape {list(shape)}), and {count} are given")
    return shape
