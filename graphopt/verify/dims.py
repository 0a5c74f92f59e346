"""What shape do a model's inputs take when it is run? The user's `--dim`, or a default that suits the axis.

    --dim batch=1            a symbolic dimension, by its name, wherever it occurs
    --dim ?=192              every dimension without a name ("?", none, negative) but the first, which is the batch;
                             where the user's samples have another size there, theirs
    --dim x=1x3x48x192       the whole shape of the input x
    --dim batch=open         stays open where a backend takes that, as TFLite does for a batch

The same name gives the same number everywhere in the model; dimensions without a name default each for itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import onnx_ir as ir

from graphopt.errors import UserError
from graphopt.verify.uses import meanings

Dims: TypeAlias = Mapping[str, "int | tuple[int, ...]"]

ANONYMOUS, OPEN = "?", -1
"""What stands for dimensions without a name, and for a size that stays open."""
IMAGE_SIDE, SEQUENCE, SIGNAL, VOLUME_SIDE, CHANNELS = 224, 16, 512, 16, 3

_BATCH = re.compile(r"^(bs|batch\w*|\w*_batch|\w*batch_?size)$", re.IGNORECASE)
_SPATIAL = re.compile(r"^(h|w|height|width|\w*_(height|width)|image_\w+)$", re.IGNORECASE)


def parse_dims(texts: Sequence[str]) -> dict[str, int | tuple[int, ...]]:
    """Read `NAME=4` and `NAME=1x3x48x192` into a mapping from the name to a size or to a whole shape; OPEN for "open".

    Raises:
        UserError: a text is not of that form, or names the same thing twice with different numbers.
    """
    dims: dict[str, int | tuple[int, ...]] = {}
    for text in texts:
        name, _, number = text.rpartition("=")  # the name of an input may itself hold "="
        if not name or not re.fullmatch(r"open|[1-9]\d*(x[1-9]\d*)*", number):
            raise UserError(f"--dim {text!r} is not NAME=SIZE or INPUT=AxBxC: write batch=1 or x=1x3x48x192")
        sizes = (OPEN,) if number == "open" else tuple(int(part) for part in number.split("x"))
        value = sizes[0] if len(sizes) == 1 else sizes
        if dims.setdefault(name, value) != value:
            raise UserError(f"--dim gives {name!r} twice, as {_text(dims[name])} and {_text(value)}: give it once")
    return dims


def check_dims(model: ir.Model, dims: Dims) -> None:
    """Raise UserError where `dims` names what the model lacks or contradicts its signature."""
    inputs = {value.name or "": value for value in real_inputs(model)}
    symbols = {name for value in inputs.values() for axis in range(_rank(value)) if (name := _symbol(value, axis))}
    known = sorted({*inputs, *symbols})
    for name, given in dims.items():
        if name == ANONYMOUS and isinstance(given, int):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f": it has {', '.join(known) or 'none'}"
            raise UserError(f"the model has no dimension or input {name!r} to set with --dim{hint}")
        if name in inputs and name not in symbols:
            _check_shape(inputs[name], (given,) if isinstance(given, int) else given)
        elif isinstance(given, tuple) and name not in inputs:
            raise UserError(f"{name!r} is a dimension, not an input: give it one size, not {_text(given)}")
        elif isinstance(given, tuple):
            _check_shape(inputs[name], given)


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """The inputs that a caller must feed: those without an initializer that serves as their default."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def concrete_shapes(model: ir.Model, dims: Dims | None = None) -> dict[str, tuple[int, ...]]:
    """Choose a size for every dimension of every input that must be fed.

    Args:
        model: the model; only its signature and the weights next to the inputs are looked at.
        dims: sizes by dimension name, shapes by input name, "?" for dimensions without a name.

    Returns:
        The shape of each input by name, in the model's order.

    Raises:
        UserError: `dims` does not fit the model, or an input has no shape and none is given.
    """
    dims = dims or {}
    check_dims(model, dims)
    dims = {name: size for name, size in dims.items() if size != OPEN}
    chosen = {name: size for name, size in dims.items() if isinstance(size, int) and name != ANONYMOUS}
    values = real_inputs(model)
    # A whole shape also settles the names in it, wherever else they occur.
    for value in values:
        given = dims.get(value.name or "")
        if isinstance(given, tuple) and value.shape is not None:
            chosen.update({s: size for axis, size in enumerate(given) if (s := _symbol(value, axis)) and s not in dims})
    shapes: dict[str, tuple[int, ...]] = {}
    for value in values:
        name = value.name or ""
        given = dims.get(name)
        if isinstance(given, tuple):
            shapes[name] = given
        elif isinstance(given, int) and value.shape is not None and _rank(value) == 1:
            shapes[name] = (given,)
        elif value.shape is None:
            raise UserError(f"the input {name!r} has no shape in the model: give it, as --dim {name}=1x3x224x224")
        else:
            shapes[name] = tuple(_size(model, value, axis, chosen, dims) for axis in range(_rank(value)))
    return shapes


def is_batch(value: ir.Value, axis: int) -> bool:
    """Whether this axis counts independent examples: the first axis, unless its name says otherwise.

    A vector's only axis counts examples where the vector holds their lengths.
    """
    symbol = _symbol(value, axis)
    if symbol and _BATCH.match(symbol):
        return True
    examples = _rank(value) > 1 or re.search(r"len", value.name or "", re.IGNORECASE)
    return axis == 0 and bool(examples) and not (symbol and re.search(r"seq|len|time|frame", symbol, re.IGNORECASE))


def channel_axis(shape: Sequence[object]) -> int:
    """The axis of the channels of a rank-4 image: 3 where only the last axis looks like 1, 3 or 4 channels, else 1."""
    few = (1, 3, 4)
    return 3 if shape[3] in few and shape[1] not in few else 1


def fixed(value: ir.Value, axis: int) -> int | None:
    """The size of an axis where the model fixes it, else None."""
    dim = value.shape[axis] if value.shape is not None else None
    return dim if isinstance(dim, int) and dim >= 0 else None


def _size(model: ir.Model, value: ir.Value, axis: int, chosen: dict[str, int], dims: Dims) -> int:
    size = fixed(value, axis)
    if size is not None:
        return size
    symbol = _symbol(value, axis)
    if symbol:
        return chosen.setdefault(symbol, _default(model, value, axis))
    anonymous = dims.get(ANONYMOUS)
    if isinstance(anonymous, int) and not is_batch(value, axis):
        return anonymous
    return _default(model, value, axis)


def _default(model: ir.Model, value: ir.Value, axis: int) -> int:
    required = _required(value, axis)
    if required is not None:
        return required
    if is_batch(value, axis) or (axis == 1 and _is_state(model, value)):
        return 1
    rank, symbol = _rank(value), _symbol(value, axis)
    if rank == 4 and value.dtype is not None and not value.dtype.is_string():
        if axis == channel_axis([fixed(value, a) for a in range(4)]):
            return CHANNELS
        return IMAGE_SIDE
    if symbol and _SPATIAL.match(symbol):
        return IMAGE_SIDE
    if rank == 5:
        return CHANNELS if axis == 1 else VOLUME_SIDE
    if rank == 2 and value.dtype is not None and value.dtype.is_floating_point():
        return SIGNAL
    return SEQUENCE


def _is_state(model: ir.Model, value: ir.Value) -> bool:
    """Whether the input is the state of a recurrent layer, whose second axis is the batch."""
    return any(node.op_type in ("LSTM", "GRU", "RNN") and index in (5, 6) for node, index in meanings(value, model))


def _required(value: ir.Value, axis: int) -> int | None:
    """The size that a weight next to the input leaves no choice about."""
    rank = _rank(value)
    for use in value.uses():
        node = use.node
        if use.idx != 0 or len(node.inputs) < 2 or node.inputs[1] is None or node.inputs[1].shape is None:
            continue
        weight = node.inputs[1].shape
        at: int | None = None
        scale = 1
        if node.op_type == "Conv" and axis == 1 and len(weight) > 2:
            at, scale = 1, _flag(node, "group", 1)
        elif node.op_type == "MatMul" and axis == rank - 1 and len(weight) > 1:
            at = len(weight) - 2
        elif node.op_type == "Gemm" and rank == 2:
            at = _flag(node, "transB") if axis == 1 - _flag(node, "transA") else None
        elif node.op_type in ("LSTM", "GRU", "RNN") and axis == 2:
            at = 2
        size = weight[at] if at is not None else None
        if isinstance(size, int) and size > 0:
            return size * scale
    return None


def _flag(node: ir.Node, name: str, default: int = 0) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _symbol(value: ir.Value, axis: int) -> str | None:
    dim = value.shape[axis] if value.shape is not None else None
    name = dim.value if isinstance(dim, ir.SymbolicDim) else None
    # Exporters write "-1" and "?" for "I do not know", not as names that tie dimensions together.
    return name if isinstance(name, str) and name and name not in (ANONYMOUS, "-1", "None") else None


def _rank(value: ir.Value) -> int:
    return len(value.shape) if value.shape is not None else 0


def _check_shape(value: ir.Value, given: tuple[int, ...]) -> None:
    if value.shape is None:
        return
    fits = len(given) == _rank(value) and all(fixed(value, axis) in (None, size) for axis, size in enumerate(given))
    if not fits:
        raise UserError(f"--dim {value.name}={_text(given)} does not fit the input's shape {value.shape}")


def _text(size: int | tuple[int, ...]) -> str:
    return ("open" if size == OPEN else str(size)) if isinstance(size, int) else "x".join(map(str, size))
