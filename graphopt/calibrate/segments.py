"""Run a model piece by piece over a few samples, so that what one writes can be mended before the next reads it.

This is what sequential methods need: layer 7 is corrected on what the corrected layers 1 to 6 make, and the whole
takes one run of the model, not one run a layer. Between pieces the values that later pieces read are held, of a fixed
number of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from graphopt.calibrate.sweep import loaded
from graphopt.ir.edit import bodies

if TYPE_CHECKING:
    from graphopt.verify import Runner

Arrays = np.ndarray


@dataclass(frozen=True)
class Segment:
    """A run of nodes of the main graph.

    Attributes:
        last: the value at which it was cut, written by its last node.
        reads: values from before that it needs.
        writes: values that it makes for those after it, and `last`.
    """

    last: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def cut(model: ir.Model, at: Sequence[str]) -> list[Segment]:
    """Cut the main graph after the nodes that write the given values; what comes after the last one is left out.

    Args:
        model: a model in topological order.
        at: names of values that nodes of the main graph write; others are passed over.
    """
    nodes = list(model.graph)
    place = {value.name: number for number, node in enumerate(nodes) for value in node.outputs if value.name}
    ends = sorted({place[name]: name for name in at if name in place}.items())
    final = ends[-1][0] if ends else -1
    last_use: dict[str, int] = {}
    used: list[list[str]] = []
    for number, node in enumerate(nodes):
        names = [value.name for value in _read(node) if value.name and not value.is_initializer()]
        used.append(names)
        if number <= final:
            last_use.update(dict.fromkeys(names, number))
    segments, start = [], 0
    for end, name in ends:
        made = [value.name for node in nodes[start : end + 1] for value in node.outputs if value.name]
        own = set(made)
        reads = dict.fromkeys(name for names in used[start : end + 1] for name in names if name not in own)
        writes = [made_ for made_ in made if made_ == name or end < last_use.get(made_, -1)]
        segments.append(Segment(name, tuple(reads), tuple(writes)))
        start = end + 1
    return segments


def stepped(
    model: ir.Model, at: Sequence[str], samples: Sequence[Mapping[str, Arrays]]
) -> Iterator[tuple[str, list[Arrays]]]:
    """Run up to each of the given values and hand over its arrays, one a sample.

    The consumer may change the list's items, and the nodes that follow, before it asks for the next value: later pieces
    are made of the model, and read what is there, then.

    Raises:
        ExecutionFailed: a piece does not run.
    """
    segments = cut(model, at)
    held: list[dict[str, Arrays]] = [dict(sample) for sample in samples]
    for number, segment in enumerate(segments):
        runner = _runner(model, segment, held[0])
        for values in held:
            values.update(runner.run({name: values[name] for name in segment.reads}))
        found = [values[segment.last] for values in held]
        yield segment.last, found
        needed = {name for later in segments[number + 1 :] for name in later.reads}
        for place, values in enumerate(held):
            values[segment.last] = found[place]
            held[place] = {name: array for name, array in values.items() if name in needed}


def _runner(model: ir.Model, segment: Segment, values: Mapping[str, Arrays]) -> Runner:
    graph = ir.convenience.extract(model.graph, inputs=list(segment.reads), outputs=list(segment.writes))
    for value in graph.inputs:
        # What a file says of a value's shape need not hold of a piece of it; its type is that of what was written.
        value.type = ir.TensorType(ir.DataType.from_numpy(values[value.name or ""].dtype))
        value.shape = None
    functions = [function.clone() for function in model.functions.values()]
    return loaded(ir.Model(graph, ir_version=model.ir_version, functions=functions))


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, with what its bodies read from around it."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        for inner in body:
            yield from (value for value in _read(inner) if value.graph is not body)
