"""Constant evaluation: whole foldable regions in one onnxruntime session, under a budget.

A region is cut where folding would make the file grow beyond the budget: a ConstantOfShape that makes 200 MB out of
three numbers stays, and so does what depends on its content alone unless that is small again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from graphopt.errors import GraphoptError
from graphopt.ir.edit import bodies, constant, readers, shape_of
from graphopt.ir.io import to_bytes
from graphopt.ir.plain import compute
from graphopt.ir.symbolic import numbers, partial_of
from graphopt.ir.validate import describe

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout",
})  # fmt: skip
"""Operators whose result differs from run to run (Dropout only in training mode); never folded, never merged."""

_NEVER = RANDOM | {"Constant", "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"}
_PER_SESSION = 500
"""Nodes in one session: onnxruntime's own cost per node grows with the size of a graph."""
_HERE = 1 << 24
"""Bytes up to which a result is computed by numpy, in this process's memory."""
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True)
class Budget:
    """How much folding may cost.

    Attributes:
        growth: bytes that the file may grow by in all.
        value: bytes that one folded value may add beyond the constants that it makes unnecessary.
        intermediate: bytes of one interior value while it is computed.
    """

    growth: int = 1 << 20
    value: int = 1 << 18
    intermediate: int = 1 << 30


@dataclass
class Folded:
    """What `evaluate` found: arrays by value, and the nodes that it could not compute, with the reason."""

    arrays: dict[ir.Value, np.ndarray | ir.TensorProtocol] = field(default_factory=dict)
    failed: dict[ir.Node, str] = field(default_factory=dict)


def is_random(node: ir.Node) -> bool:
    """Whether a node gives other results in another run."""
    return not node.domain and node.op_type in RANDOM


def foldable(graph: ir.Graph, budget: Budget, *, skip: frozenset[str] = frozenset()) -> list[ir.Value]:
    """The values of a graph to replace by constants: the far end of every foldable region, within the budget.

    Args:
        graph: nodes in topological order.
        budget: what it may cost.
        skip: operator types that stay.
    """
    region: dict[ir.Node, None] = {}
    fixed: set[ir.Value] = set()
    for node in graph:
        if _computable(node, fixed, skip) and all(_bytes(v) <= budget.intermediate for v in node.outputs):
            region[node] = None
            fixed.update(node.outputs)
    freed = _freed(region)
    chosen: dict[ir.Value, None] = {}
    wanted: set[ir.Value] = set()
    spent = 0.0
    # From the far end backwards: a node that is too big to fold hands the question on to its inputs.
    for node in reversed(region):
        ends = [v for v in node.outputs if v in wanted or _leaves(v, region)]
        growth = sum(_bytes(v) for v in ends) - freed[node]
        if ends and growth <= budget.value and spent + growth <= budget.growth:
            chosen.update(dict.fromkeys(ends))
            spent += max(growth, 0)
        elif ends:
            wanted.update(v for v in node.inputs if v is not None and v in fixed)
    return list(reversed(chosen))


def _leaves(value: ir.Value, region: Mapping[ir.Node, None]) -> bool:
    return value.is_graph_output() or any(user not in region for user in readers(value))


def _computable(node: ir.Node, fixed: set[ir.Value], skip: frozenset[str]) -> bool:
    if node.domain or node.op_type in _NEVER or node.op_type in skip:
        return False
    if any(v.type is None or not isinstance(v.type, ir.TensorType) for v in node.outputs if v.name):
        return False
    if given(node.outputs[0]) is not None:
        return True
    if not node.inputs or any(True for _ in bodies(node)) or any(a.is_ref() for a in node.attributes.values()):
        return False
    return all(v is None or v in fixed or constant(v) is not None for v in node.inputs)


def given(value: ir.Value) -> np.ndarray | ir.TensorProtocol | None:
    """The content of a value where nothing needs to be computed: a constant, or a shape that is known in full."""
    tensor = constant(value)
    if tensor is not None:
        return tensor
    partial = partial_of(value)
    held = numbers(partial)
    if held is None or value.dtype not in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL):
        return None
    array = np.array(held, value.dtype.numpy())
    return array if isinstance(partial, tuple) else array.reshape(())


def _freed(region: Mapping[ir.Node, None]) -> dict[ir.Node, float]:
    """Bytes of constants that each node's folding makes unnecessary; what several nodes read is shared among them."""
    freed: dict[ir.Node, float] = {}
    shares: dict[ir.Value, int] = {}  # how many readers share a value, 0 where one of them keeps it alive
    for node in region:
        total = 0.0
        for value in dict.fromkeys(node.inputs):
            if value is None:
                continue
            if value not in shares:
                shares[value] = 0 if _leaves(value, region) else len(value.consumers())
            if not shares[value]:
                continue
            tensor, producer = constant(value), value.producer()
            held = tensor.nbytes if tensor is not None else freed.get(producer, 0.0) if producer is not None else 0.0
            total += held / shares[value]
        freed[node] = total
    return freed


def _bytes(value: ir.Value) -> float:
    """Bytes of a value, infinite where its size is not known: it might be anything."""
    shape = shape_of(value)
    if shape is None or value.dtype is None or not all(isinstance(d, int) for d in shape):
        return 0 if not value.name else float("inf")
    if value.dtype == ir.DataType.STRING:
        return float("inf")
    count = 1.0
    for dim in shape:
        count *= float(dim)  # type: ignore[arg-type]
    return count * value.dtype.itemsize


def evaluate(wanted: Sequence[ir.Value], opset_imports: Mapping[str, int]) -> Folded:
    """Compute values that depend on constants alone.

    Nodes go into sessions of at most a few hundred; a session that onnxruntime refuses is computed node by node, so
    that one missing kernel costs one node.

    Args:
        wanted: values in topological order, as `foldable` gives them.
        opset_imports: operator sets of the graph.
    """
    result = Folded()
    known = _computed_here(wanted)
    result.arrays.update((value, known[value]) for value in wanted if value in known)
    for nodes, ends in _sessions([v for v in wanted if v not in known], known):
        try:
            result.arrays.update(_run(nodes, ends, known, opset_imports))
        except _Refused as refused:
            _one_by_one(nodes, ends, known, result, opset_imports, str(refused))
    return result


def _computed_here(wanted: Sequence[ir.Value]) -> dict[ir.Value, np.ndarray | ir.TensorProtocol]:
    """What numpy computes of the wanted values, and of what they depend on."""
    known: dict[ir.Value, np.ndarray | ir.TensorProtocol] = {}
    nodes: dict[ir.Node, None] = {}
    for value in wanted:
        held = given(value)
        if held is not None:
            known[value] = held
        else:
            _collect(value, nodes, known)
    for node in nodes:
        if any(_bytes(v) > _HERE for v in node.outputs):
            continue
        inputs = [None if v is None else known.get(v) if v in known else given(v) for v in node.inputs]
        if all(one is not None or v is None for one, v in zip(inputs, node.inputs, strict=True)):
            arrays = [one if one is None or isinstance(one, np.ndarray) else one.numpy() for one in inputs]
            found = compute(node, arrays)
            if found is not None:
                known[node.outputs[0]] = found
    return known


class _Refused(GraphoptError):
    """onnxruntime could not load or run a session."""


def _sessions(
    wanted: Sequence[ir.Value], known: Mapping[ir.Value, object]
) -> Iterable[tuple[list[ir.Node], list[ir.Value]]]:
    """Group the nodes behind the wanted values, in topological order, into sessions."""
    nodes: dict[ir.Node, None] = {}
    ends: list[ir.Value] = []
    for value in wanted:
        _collect(value, nodes, known)
        ends.append(value)
        if len(nodes) >= _PER_SESSION:
            yield list(nodes), ends
            nodes, ends = {}, []
    if ends:
        yield list(nodes), ends


def _collect(value: ir.Value, nodes: dict[ir.Node, None], known: Mapping[ir.Value, object]) -> None:
    # Depth first without recursion: a node goes in after all that it reads.
    waiting: list[tuple[ir.Node, bool]] = [(value.producer(), False)]  # type: ignore[list-item]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            nodes[node] = None
        elif node not in nodes:
            waiting.append((node, True))
            for read in node.inputs:
                if read is None or read in known or given(read) is not None:
                    continue
                producer = read.producer()
                if producer is not None and producer not in nodes:
                    waiting.append((producer, False))


def _run(
    nodes: Sequence[ir.Node],
    ends: Sequence[ir.Value],
    known: Mapping[ir.Value, np.ndarray | ir.TensorProtocol],
    opset_imports: Mapping[str, int],
) -> dict[ir.Value, np.ndarray | ir.TensorProtocol]:
    import onnxruntime

    half = any(v.dtype in _HALF for node in nodes for v in node.outputs)
    if half and len(nodes) > 1:
        # onnxruntime computes half precision in single and drops the casts between nodes, so results that the
        # standard rounds (60000 × 2 is infinite in float16) come out unrounded: one node a session keeps them right.
        raise _Refused("half precision")
    copies: dict[ir.Value, ir.Value] = {}
    initializers = []
    # An earlier session may have computed what a node here makes again on the way to something else.
    own = {value for node in nodes for value in node.outputs}

    def copy(value: ir.Value | None) -> ir.Value | None:
        if value is None or value in copies:
            return None if value is None else copies[value]
        tensor = None if value in own else known.get(value)
        if tensor is None and value not in own:
            tensor = given(value)
        fresh = ir.Value(name=f"v{len(copies)}")
        copies[value] = fresh
        if tensor is not None:
            fresh.const_value = (
                ir.Tensor(tensor, dtype=value.dtype, name=fresh.name) if isinstance(tensor, np.ndarray) else tensor
            )
            fresh.shape, fresh.type = ir.Shape(fresh.const_value.shape.numpy()), ir.TensorType(fresh.const_value.dtype)
            initializers.append((fresh, tensor))
        return fresh

    made = []
    for index, node in enumerate(nodes):
        inputs = [copy(v) for v in node.inputs]
        outputs = [copy(v) if v.name else ir.Value(name="") for v in node.outputs]
        made.append(
            ir.Node("", node.op_type, inputs, node.attributes, outputs=outputs, name=f"n{index}")  # type: ignore[arg-type]
        )
    for value in ends:
        copies[value].type = value.type
    graph = ir.Graph([], [copies[v] for v in ends], nodes=made, opset_imports=dict(opset_imports), name="fold")
    for fresh, _ in initializers:
        name = fresh.const_value.name if fresh.const_value is not None else None
        graph.register_initializer(fresh)
        if fresh.const_value is not None:
            fresh.const_value.name = name
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        data = to_bytes(ir.Model(graph, ir_version=10))
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        answers = session.run_with_ort_values(None, {})
    except _ort_errors() as error:
        raise _Refused(str(error).splitlines()[0]) from None
    del session
    found: dict[ir.Value, np.ndarray | ir.TensorProtocol] = {}
    for value, answer in zip(ends, answers, strict=True):
        found[value] = _to_array(answer, value)
    return found


def _to_array(answer: object, value: ir.Value) -> np.ndarray:
    try:
        array = answer.numpy() if hasattr(answer, "numpy") else np.asarray(answer)
    except RuntimeError as error:  # onnxruntime hands out no bfloat16
        raise _Refused(str(error)) from None
    assert value.dtype is not None
    wanted = value.dtype.numpy()
    # onnxruntime hands out types that numpy lacks (bfloat16, float8, …) as the integers of their bits.
    return array if array.dtype == wanted or array.dtype == object else array.view(wanted)


def _ort_errors() -> tuple[type[BaseException], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException", "EPFail", "NoSuchFile")
    return (*(getattr(state, k) for k in kinds if hasattr(state, k)), RuntimeError, GraphoptError)


def _one_by_one(
    nodes: Sequence[ir.Node],
    ends: Sequence[ir.Value],
    known: Mapping[ir.Value, np.ndarray | ir.TensorProtocol],
    result: Folded,
    opset_imports: Mapping[str, int],
    why: str,
) -> None:
    """Compute a refused session a node at a time; the reference evaluator takes what onnxruntime does not."""
    local: dict[ir.Value, np.ndarray | ir.TensorProtocol] = {**known, **result.arrays}
    for node in nodes:
        outputs = [v for v in node.outputs if v.name]
        if any(v is not None and given(v) is None and v not in local for v in node.inputs):
            result.failed[node] = "reads a value that could not be computed"
            continue
        try:
            local.update(_run([node], outputs, local, opset_imports))
        except _Refused as refused:
            result.failed[node] = str(refused) if len(nodes) > 1 else why
    for value in ends:
        if value in local:
            result.arrays[value] = local[value]
        else:
            producer = value.producer()
            if producer is not None and producer not in result.failed:
                result.failed[producer] = f"{describe(producer)} could not be computed"
