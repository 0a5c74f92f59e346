"""Ways to make a model smaller. Each tries its way everywhere and returns the smallest model that stays interesting.

From coarse to fine: fewer outputs; chunks of nodes cut away, so that what they made becomes an input; single nodes
passed by; bodies and functions emptied in the same way; sizes of dimensions; contents of constants; attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Ask = Callable[[Any], bool]
Attempt = Callable[[Any, Ask], Any]
_READ = 1 << 16
"""Elements up to which a constant's content is tried to be simpler."""


def _copy(model: Any) -> Any:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def tidied(model: Any) -> Any:
    """The model without what its outputs do not need: nodes, initializers, inputs, functions, descriptions."""
    model = _copy(model)
    _drop_dead(model.graph)
    used = _names_read(model.graph) | {value.name for value in model.graph.output}
    for field in (model.graph.initializer, model.graph.input):
        kept = [item for item in field if item.name in used]
        del field[:]
        field.extend(kept)
    del model.graph.value_info[:]
    called = {(node.domain, node.op_type) for node in _nodes(model.graph)}
    for function in model.functions:
        called |= {(node.domain, node.op_type) for node in function.node}
    functions = [function for function in model.functions if (function.domain, function.name) in called]
    del model.functions[:]
    model.functions.extend(functions)
    return model


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _names_read(graph: Any) -> set[str]:
    return {name for node in _nodes(graph) for name in node.input} | {
        value.name
        for node in _nodes(graph)
        for attribute in node.attribute
        if attribute.HasField("g")
        for value in attribute.g.output
    }


def _drop_dead(graph: Any) -> None:
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    wanted.update(_names_read(attribute.g))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def fewer_outputs(model: Any, ask: Ask) -> Any:
    """One output alone, or the model without one."""
    for index in range(len(model.graph.output)):
        one = _with_outputs(model, [model.graph.output[index]])
        if len(model.graph.output) > 1 and ask(one):
            return one
    index = 0
    while len(model.graph.output) > 1 and index < len(model.graph.output):
        rest = [value for place, value in enumerate(model.graph.output) if place != index]
        fewer = _with_outputs(model, rest)
        if ask(fewer):
            model = fewer
        else:
            index += 1
    return model


def _with_outputs(model: Any, outputs: Sequence[Any]) -> Any:
    copy = _copy(model)
    kept = [type(value).FromString(value.SerializeToString()) for value in outputs]
    del copy.graph.output[:]
    copy.graph.output.extend(kept)
    return tidied(copy)


def earlier_outputs(model: Any, ask: Ask) -> Any:
    """An inner value in the place of all outputs: the earliest that will do, found by halving."""
    types = _types(model)
    ends = {value.name for value in model.graph.output}
    named = [name for node in model.graph.node for name in node.output[:1] if name in types and name not in ends]
    low, high = 0, len(named)
    while low < high:
        middle = (low + high) // 2
        shown = _with_outputs(model, [_open(named[middle], types[named[middle]])])
        if len(shown.graph.node) < len(model.graph.node) and ask(shown):
            model, high = shown, middle
        else:
            low = middle + 1
    return model


def cut_nodes(model: Any, ask: Ask) -> Any:
    """Chunks of nodes taken away, halves first: what they made and others read becomes an input."""
    size = max(len(model.graph.node) // 2, 1)
    while size:
        start = 0
        while start < len(model.graph.node):
            fewer = _cut(model, start, start + size)
            if fewer is not None and ask(fewer):
                model = fewer
            else:
                start += size
        size //= 2
    return model


def _cut(model: Any, start: int, stop: int) -> Any | None:
    types = _types(model)
    gone = list(model.graph.node)[start:stop]
    rest = [node for place, node in enumerate(model.graph.node) if not start <= place < stop]
    if not rest:
        return None
    copy = _copy(model)
    del copy.graph.node[:]
    copy.graph.node.extend(rest)
    made = {name for node in rest for name in node.output}
    outputs = [value for value in model.graph.output if value.name in made]
    if not outputs:
        return None
    read = _names_read(copy.graph)
    for node in gone:
        for name in node.output:
            if name in read:
                if name not in types:
                    return None
                copy.graph.input.append(_described(name, types[name]))
    return _with_outputs(copy, outputs)


def pass_by(model: Any, ask: Ask) -> Any:
    """Single nodes taken away: who read them reads one of their inputs."""
    place = 0
    while place < len(model.graph.node):
        node = model.graph.node[place]
        for source in dict.fromkeys(name for name in node.input if name):
            copy = _copy(model)
            del copy.graph.node[place]
            _rename(copy.graph, node.output[0], source)
            outputs = [value.name for value in copy.graph.output]
            if node.output[0] in outputs or source in outputs:
                continue
            copy = tidied(copy)
            if copy.graph.node and ask(copy):
                model, place = copy, place - 1
                break
        place += 1
    return model


def _rename(graph: Any, old: str, new: str) -> None:
    for node in _nodes(graph):
        node.input[:] = [new if name == old else name for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for value in attribute.g.output:
                    value.name = new if value.name == old else value.name


def fewer_inputs(model: Any, ask: Ask) -> Any:
    """Inputs that are the same as another one of the same form, and optional inputs left out."""
    for one in list(model.graph.input):
        for other in model.graph.input:
            if other.name == one.name or other.type != one.type:
                continue
            copy = _copy(model)
            _rename(copy.graph, one.name, other.name)
            copy = tidied(copy)
            if ask(copy):
                model = copy
                break
    for place, node in enumerate(model.graph.node):
        for index in range(len(node.input) - 1, 0, -1):
            copy = _copy(model)
            mine = copy.graph.node[place]
            mine.input[index] = ""
            while mine.input and not mine.input[-1]:
                del mine.input[-1]
            copy = tidied(copy)
            if node.input[index] and ask(copy):
                model = copy
                break
    return model


def smaller_sizes(model: Any, ask: Ask) -> Any:
    """Sizes of dimensions, wherever they stand: 1, then 2, then the half; symbolic ones as they are."""
    for size in sorted(_sizes(model), reverse=True):
        for smaller in dict.fromkeys((1, 2, size // 2)):
            if 0 < smaller < size:
                copy = _resized(model, size, smaller)
                if ask(copy):
                    model = copy
                    break
    return model


def _sizes(model: Any) -> set[int]:
    shapes = [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input]
    shapes += [list(tensor.dims) for tensor in model.graph.initializer]
    return {size for shape in shapes for size in shape if size > 1}


def _resized(model: Any, size: int, smaller: int) -> Any:
    import onnx

    copy = _copy(model)
    for value in (*copy.graph.input, *copy.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value == size:
                dim.dim_value = smaller
    for tensor in copy.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if size in array.shape:
            for axis, length in enumerate(array.shape):
                array = array.take(range(smaller), axis) if length == size else array
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return copy


def simpler_constants(model: Any, ask: Ask) -> Any:
    """Constants of zeros, of ones, or of rounded numbers."""
    import onnx

    for place, tensor in enumerate(model.graph.initializer):
        if np.prod(tensor.dims, dtype=np.int64) > _READ or tensor.data_type == onnx.TensorProto.STRING:
            continue
        array = onnx.numpy_helper.to_array(tensor)
        ways = [np.zeros_like(array), np.ones_like(array)]
        if array.dtype.kind == "f":
            ways.append(np.round(array))
        for simpler in ways:
            if np.array_equal(simpler, array) or any(np.array_equal(array, way) for way in ways[:2]):
                continue
            copy = _copy(model)
            copy.graph.initializer[place].CopyFrom(onnx.numpy_helper.from_array(simpler, tensor.name))
            if ask(copy):
                model = copy
                break
    return model


def fewer_attributes(model: Any, ask: Ask) -> Any:
    """Attributes left out, where a default stands in."""
    for place in range(len(model.graph.node)):
        index = 0
        while index < len(model.graph.node[place].attribute):
            copy = _copy(model)
            del copy.graph.node[place].attribute[index]
            if not model.graph.node[place].attribute[index].HasField("g") and ask(copy):
                model = copy
            else:
                index += 1
    return model


def smaller_bodies(model: Any, ask: Ask) -> Any:
    """Bodies without what nobody reads of them, and functions written out."""
    copy = _copy(model)
    read = _names_read(copy.graph) | {value.name for value in copy.graph.output}
    for node in _nodes(copy.graph):
        held = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        # What a Loop or a Scan carries comes first among its outputs, and every turn needs it.
        carried = {"If": 0, "Loop": len(node.input) - 2, "Scan": len(node.output)}.get(node.op_type, 0)
        for index in range(len(node.output) - 1, carried - 1, -1):
            if held and node.output[index] not in read and len(node.output) > 1:
                del node.output[index]
                for body in held:
                    del body.output[index + (node.op_type == "Loop")]
        for body in held:
            _drop_dead(body)
    copy = tidied(copy)
    if copy != model and ask(copy):
        model = copy
    return _inlined(model, ask)


def _inlined(model: Any, ask: Ask) -> Any:
    """Functions of the model's own written out."""
    import onnx.inliner

    if model.functions:
        flat = tidied(onnx.inliner.inline_local_functions(model))
        if ask(flat):
            return flat
    return model


def _types(model: Any) -> dict[str, Any]:
    """Types of values as the onnx package infers them, by name."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError):
        graph = model.graph
    found = {v.name: v.type for v in (*graph.value_info, *graph.input, *graph.output)}
    return {name: kind for name, kind in found.items() if kind.tensor_type.elem_type}


def _described(name: str, kind: Any) -> Any:
    import onnx

    return onnx.ValueInfoProto(name=name, type=kind)


def _open(name: str, kind: Any) -> Any:
    """A value with its type and rank, its sizes left open."""
    import onnx

    dims = [None] * len(kind.tensor_type.shape.dim) if kind.tensor_type.HasField("shape") else None
    return onnx.helper.make_tensor_value_info(name, kind.tensor_type.elem_type, dims)


ATTEMPTS: tuple[Attempt, ...] = (
    fewer_outputs, earlier_outputs, cut_nodes, smaller_bodies, pass_by, fewer_inputs, smaller_sizes, fewer_attributes,
    simpler_constants,
)  # fmt: skip
"""All ways, from coarse to fine."""
