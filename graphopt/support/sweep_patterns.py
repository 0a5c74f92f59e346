"""Probes of operators inside the larger forms of `graphopt.support.patterns`: alone they say nothing of those.

The graphs are in ONNX's text form, for the newest version of the operator; `op` marks the node that is asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np

from graphopt.support.case import Arg, opset_of, versions
from graphopt.support.probe import Probe, finish

_CONSTANTS: Final = (
    "float r = {1.4142135}, float q = {0.70710678}, float one = {1}, float half = {0.5}, float two = {2}"
)
_TENSORS: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    ("float", (2, 3, 8)), ("float", (3, 8)), ("float", (1, 8, 4, 4)), ("float16", (2, 3, 8)),
)  # fmt: skip
_GELUS: Final = {
    "gelu": "d = Div (x, r) op = Erf (d) a = Add (op, one) m = Mul (x, a) y = Mul (m, half)",
    "gelu, half of x": "h = Mul (x, half) d = Div (x, r) op = Erf (d) a = Add (op, one) y = Mul (h, a)",
    "gelu, half of the rest": "d = Div (x, r) op = Erf (d) a = Add (op, one) h = Mul (a, half) y = Mul (x, h)",
    "gelu, product": "d = Mul (x, q) op = Erf (d) a = Add (one, op) m = Mul (a, x) y = Mul (half, m)",
    "gelu, product, half of x": "h = Mul (half, x) d = Mul (x, q) op = Erf (d) a = Add (op, one) y = Mul (h, a)",
    "gelu, constant first": "d = Mul (q, x) op = Erf (d) a = Add (op, one) m = Mul (x, a) y = Mul (m, half)",
    "gelu, other scale": "d = Div (x, two) op = Erf (d) a = Add (op, one) m = Mul (x, a) y = Mul (m, half)",
    "gelu, other factor": "d = Div (x, r) op = Erf (d) a = Add (op, one) m = Mul (x, a) y = Mul (m, two)",
    "gelu, read twice": "d = Div (x, r) op = Erf (d) a = Add (op, one) m = Mul (x, a) n = Mul (m, half) "
    "y = Add (n, op)",
    "one more": "d = Div (x, r) op = Erf (d) y = Add (op, one)",
}
_FORMS: Final[tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]] = (
    ("window", (1, 14, 14, 8), (1, 2, 7, 2, 7, 8), (0, 1, 3, 2, 4, 5), (4, 7, 7, 8)),
    ("window back", (4, 7, 7, 8), (1, 2, 2, 7, 7, 8), (0, 1, 3, 2, 4, 5), (1, 14, 14, 8)),
    ("pixels", (1, 12, 4, 4), (1, 3, 2, 2, 4, 4), (0, 1, 4, 2, 5, 3), (1, 3, 8, 8)),
    ("unit in the middle", (2, 14, 14, 8), (2, 2, 7, 1, 14, 8), (0, 2, 1, 3, 4, 5), (2, 7, 28, 8)),
    ("unit at the end", (2, 14, 14, 8), (2, 2, 7, 14, 8, 1), (0, 2, 1, 3, 4, 5), (2, 7, 28, 8)),
    ("unit that moves", (2, 12, 4, 4), (2, 3, 4, 1, 4, 4), (0, 1, 4, 2, 5, 3), (2, 3, 16, 4)),
    ("window of a batch", (2, 14, 14, 8), (2, 2, 7, 2, 7, 8), (0, 1, 3, 2, 4, 5), (8, 7, 7, 8)),
    ("pixels of a batch", (2, 12, 4, 4), (2, 3, 2, 2, 4, 4), (0, 1, 4, 2, 5, 3), (2, 3, 8, 8)),
    ("rank 7", (1, 14, 14, 8), (1, 2, 7, 2, 7, 2, 4), (0, 1, 3, 2, 4, 5, 6), (4, 7, 7, 8)),
    ("channels", (1, 8, 4, 4), (1, 2, 4, 4, 4), (0, 2, 1, 3, 4), (1, 8, 4, 4)),
    ("channels of a batch", (2, 8, 4, 4), (2, 2, 4, 4, 4), (0, 2, 1, 3, 4), (2, 8, 4, 4)),
    ("heads", (1, 6, 8), (1, 6, 2, 4), (0, 2, 1, 3), (2, 6, 4)),
    ("heads of a batch", (2, 6, 8), (2, 6, 2, 4), (0, 2, 1, 3), (4, 6, 4)),
    ("columns", (6, 4), (2, 3, 4), (1, 0, 2), (3, 8)),
)
_PLACES: Final = {
    "Reshape": {
        "before": "op = Reshape (x, s) b = Transpose <perm = {p}> (op) y = Reshape (b, t)",
        "after": "a = Reshape (x, s) b = Transpose <perm = {p}> (a) op = Reshape (b, t)",
        "twice": "op = Reshape (x, s) y = Reshape (op, t)",
        "read twice": "op = Reshape (x, s) b = Transpose <perm = {p}> (op) c = Reshape (b, t) d = Reshape (op, t) "
        "y = Add (c, d)",
    },
    "Transpose": {
        "between": "a = Reshape (x, s) op = Transpose <perm = {p}> (a) y = Reshape (op, t)",
        "after": "a = Reshape (x, s) op = Transpose <perm = {p}> (a)",
        "summed": "a = Reshape (x, s) op = Transpose <perm = {p}> (a) c = Add (op, op) y = Reshape (c, t)",
    },
}


def patterned(ops: Collection[str] | None = None) -> Iterator[Probe]:
    """All probes of larger forms, or those around the operators in `ops`."""
    for label, body in _GELUS.items() if ops is None or "Erf" in ops else ():
        for element, size in _TENSORS:
            name = f"{label}, rank {len(size)}" + f", {element}" * (element != "float")
            yield from _asked("Erf", name, element, size, _CONSTANTS, body)
    for op_type in _PLACES if ops is None else sorted(set(_PLACES) & set(ops)):
        for what, shape, inside, order, outside in _FORMS:
            stored = f"int64[{len(inside)}] s = {{{_list(inside)}}}, int64[{len(outside)}] t = {{{_list(outside)}}}"
            for place, body in _PLACES[op_type].items():
                used = stored if "t)" in body else stored.partition(", int64")[0]
                graph = body.format(p=f"[{_list(order)}]")
                yield from _asked(op_type, f"{what}, {place}", "float", shape, used, graph)


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _asked(op_type: str, label: str, element: str, shape: tuple[int, ...], stored: str, body: str) -> Iterator[Probe]:
    import onnx

    # the forms are those of exporters of the last years: Reshape and Transpose have not changed in what they do since 5
    version = max(number for number in versions(op_type) if number <= 14)
    opset = opset_of(op_type, version)
    name = f"{op_type}-{version}/{label}"
    output = "y" if "y =" in body else "op"
    signature = f"({element}[{_list(shape)}] x) => ({element}[n] {output}) <{stored}>"
    graph = onnx.parser.parse_graph(f"probe {signature} {{ {body} }}")
    next(node for node in graph.node if node.output[0] == "op").name = "op"
    read = {value for node in graph.node for value in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if element == "float16":  # which the text form has no numbers of
        halves = [onnx.numpy_helper.to_array(tensor).astype(np.float16) for tensor in kept]
        kept = [onnx.numpy_helper.from_array(half, old.name) for half, old in zip(halves, kept, strict=True)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    x = Arg(shape, "float16" if element == "float16" else "float32").array(f"{name}/x")
    probe = finish(name, version, proto, {"x": np.asarray(x)}, core=False)
    if probe is not None:
        yield probe
