"""A piece changed a little: what a rule's guard must tell from what the rule is for.

An example fires its rule. The same graph with another constant, attribute, operator or edge nearly does, and where a
guard is missing the rule fires all the same. Most changes make no valid graph; whoever runs the piece finds out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.fuzz.piece import Piece

_ALIKE = (
    ("Add", "Sub", "Mul", "Div", "Max", "Min"),
    ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"),
    ("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Exp", "Sqrt", "Reciprocal", "Erf", "Floor", "Round", "Identity"),
    ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"),
    ("And", "Or", "Xor"),
    ("MaxPool", "AveragePool"),
    ("ArgMax", "ArgMin"),
    ("Softmax", "LogSoftmax", "Hardmax"),
    ("Squeeze", "Unsqueeze"),
)
"""Operators that take the place of one another."""
_COUNTS = (
    "axis", "batch_axis", "time_axis", "group", "num_groups", "p", "to", "num_heads", "q_num_heads", "kv_num_heads",
)  # fmt: skip
"""Attributes where 0 and 1 are no yes and no."""
_OPEN = (
    "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "Imputer", "DeformConv", "DFT", "QLinearWhere",
    "QLinearSoftmax",
)  # fmt: skip
"""Operators that take classes, lengths or places beyond what is there, each runtime in its own way.

onnxruntime crashes on a DFT that is inverse and one-sided, and on a QLinearWhere whose zero points are no scalars;
of a scale of zero, its QLinearSoftmax makes what no formula says.
"""

Change = Callable[[Piece, random.Random], None]


def mutate(piece: Piece, source: random.Random) -> None:
    """Change one thing, sometimes two, in place; not where the standard leaves open what bad operands mean."""
    if any(node.op_type in _OPEN for node in piece.nodes):
        return
    for _ in range(source.choice((1, 1, 2))):
        source.choice(_CHANGES)(piece, source)


def _some(items: Sequence[Any], source: random.Random) -> Any:
    return items[source.randrange(len(items))] if items else None


def _constant(piece: Piece, source: random.Random) -> None:
    """Another content, or another shape of the same content."""
    import onnx

    tensor = _some(_tensors(piece), source)
    if tensor is None or tensor.data_type == onnx.TensorProto.STRING:
        return
    array = onnx.numpy_helper.to_array(tensor)
    changed = _changed(array, source)
    if array.dtype.kind == "i" and np.unique(array).size == array.size and np.unique(changed).size < changed.size:
        return  # axes, which must differ
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))


def _tensors(piece: Piece) -> list[Any]:
    """Its constants, initializers and nodes."""
    nodes = [node for node in piece.nodes if node.op_type == "Constant" and node.attribute[0].name == "value"]
    return [*piece.constants, *(node.attribute[0].t for node in nodes)]


def _changed(array: np.ndarray, source: random.Random) -> np.ndarray:
    ways: list[Callable[[], np.ndarray]] = [
        lambda: array[None],
        lambda: array.reshape(array.shape[1:]) if array.shape[:1] == (1,) else array.reshape(-1),
        lambda: array[::-1] if array.ndim else array,
        lambda: array.T,
        lambda: np.repeat(array, 2, axis=source.randrange(array.ndim)) if array.ndim else array,
        lambda: np.zeros_like(array),
        lambda: _with_zeros(array, source),
        lambda: np.ones_like(array),
        lambda: _nudged(array, source),
        lambda: _nudged(array, source),
    ]
    made = source.choice(ways)()
    return np.asarray(made, array.dtype)


def _with_zeros(array: np.ndarray, source: random.Random) -> np.ndarray:
    """The array with zeros, of both signs where there are two."""
    zeros = np.resize(np.array([0.0, -0.0, 0.0, 1.0][source.randrange(3) :]), array.shape)
    return np.asarray(np.where(np.resize([True, False, True], array.shape), zeros, array), array.dtype)


def _nudged(array: np.ndarray, source: random.Random) -> np.ndarray:
    """The array with one element, or all of them, changed."""
    changed = np.array(array)
    flat = changed.reshape(-1)
    which = slice(None) if source.random() < 0.5 or not flat.size else source.randrange(flat.size)
    if array.dtype.kind == "b":
        flat[which] = ~flat[which]
    elif array.dtype.kind in "iuf":
        step = source.choice((-1, 1, 2)) if array.dtype.kind != "u" else 1
        flat[which] = flat[which] + np.asarray(step, array.dtype)
    return changed


def _attribute(piece: Piece, source: random.Random) -> None:
    """Another number in an attribute, or its default."""
    node = _some([node for node in piece.nodes if node.attribute and node.op_type != "Constant"], source)
    if node is None:
        return
    place = source.randrange(len(node.attribute))
    attribute = node.attribute[place]
    if attribute.name == "sorted":  # the order of what is not sorted is nobody's to promise
        return
    if source.random() < 0.2 and not _required(node, attribute.name):
        del node.attribute[place]
    elif attribute.HasField("i"):
        if attribute.i in (0, 1) and attribute.name not in _COUNTS:
            attribute.i = 1 - attribute.i
        else:
            attribute.i += source.choice((-1, 1, -attribute.i))
    elif attribute.HasField("f"):
        attribute.f = attribute.f * source.choice((2.0, 0.5, -1.0)) + source.choice((0.0, 0.25))
    elif attribute.ints:
        at = source.randrange(len(attribute.ints))
        attribute.ints[at] += source.choice((-1, 1))


def _required(node: Any, name: str) -> bool:
    import onnx

    # shape inference of the onnx package crashes on some nodes behind a Cast that does not say to what
    if not onnx.defs.has(node.op_type, node.domain):
        return False
    attributes = onnx.defs.get_schema(node.op_type, domain=node.domain).attributes
    return name in attributes and bool(attributes[name].required)


def _operator(piece: Piece, source: random.Random) -> None:
    """Another operator of the same kind."""
    node = _some([node for node in piece.nodes if any(node.op_type in kind for kind in _ALIKE)], source)
    if node is not None:
        node.op_type = source.choice(next(kind for kind in _ALIKE if node.op_type in kind))


def _order(piece: Piece, source: random.Random) -> None:
    """Two inputs of a node the other way round."""
    node = _some([node for node in piece.nodes if len(node.input) > 1], source)
    if node is not None:
        one, other = source.sample(range(len(node.input)), 2)
        node.input[one], node.input[other] = node.input[other], node.input[one]


def _edge(piece: Piece, source: random.Random) -> None:
    """A node that reads another value that was made before it."""
    nodes = piece.nodes
    place = source.randrange(len(nodes)) if nodes else 0
    before = [name for node in nodes[:place] for name in (*node.input, *node.output) if name]
    if before and nodes[place].input:
        nodes[place].input[source.randrange(len(nodes[place].input))] = source.choice(before)


def _between(piece: Piece, source: random.Random) -> None:
    """One more operator on an edge."""
    import onnx

    nodes = piece.nodes
    places = [place for place, node in enumerate(nodes) if node.input and node.input[0]]
    if not places:
        return
    place = source.choice(places)
    name = nodes[place].input[0]
    made = f"{nodes[place].output[0]}_before"
    kind, more = source.choice((
        ("Identity", {}), ("Neg", {}), ("Relu", {}), ("Abs", {}), ("Transpose", {}), ("Cast", {"to": 11}),
    ))  # fmt: skip
    nodes[place].input[0] = made
    nodes.insert(place, onnx.helper.make_node(kind, [name], [made], **more))


def _types(piece: Piece, source: random.Random) -> None:
    """Every float in another type."""
    import onnx

    to = source.choice((onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to)
    for value, _ in piece.boundary:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in piece.taken:
            value.type.tensor_type.elem_type = to
    for tensor in _tensors(piece):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _size(piece: Piece, source: random.Random) -> None:
    """An input with another size of one axis, wherever that size stands, or of that axis alone."""
    own = [(value, sizes) for value, sizes in piece.boundary if sizes and value.name not in piece.taken]
    one = _some(own, source)
    if one is None:
        return
    old = source.choice(one[1])
    new = 1 if old != 1 and source.random() < 0.4 else source.randint(1, 5)
    for value, sizes in own if source.random() < 0.5 else [one]:
        for axis, size in enumerate(sizes):
            if size == old:
                sizes[axis] = new
                if value.type.tensor_type.shape.dim[axis].HasField("dim_value"):
                    value.type.tensor_type.shape.dim[axis].dim_value = new


def _open(piece: Piece, source: random.Random) -> None:
    """An input whose sizes the model does not say."""
    one = _some([value for value, _ in piece.boundary if value.name not in piece.taken], source)
    if one is not None:
        for axis, dim in enumerate(one.type.tensor_type.shape.dim):
            dim.dim_param = f"open{axis}_{one.name}"


def _computed(piece: Piece, source: random.Random) -> None:
    """A constant that comes in at run time."""
    import onnx

    tensor = _some(piece.constants, source)
    if tensor is not None and tensor.data_type != onnx.TensorProto.STRING:
        piece.constants.remove(tensor)
        piece.feed(tensor.name, onnx.numpy_helper.to_array(tensor))


_CHANGES: tuple[Change, ...] = (
    _constant, _constant, _constant, _attribute, _attribute, _operator, _order, _edge, _between, _types, _size, _open,
    _computed,
)  # fmt: skip
