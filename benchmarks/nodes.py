"""Cut a model into questions to a vendor: every node of it alone, with its real shapes, constants and inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper, numpy_helper, shape_inference

from graphopt.support.probe import Probe, facts_of, reference
from graphopt.verify import generate

_SMALL = 64
"""Elements up to which the values of a constant tell two nodes apart; of larger ones the shape does."""


def cut(file: Path) -> tuple[list[tuple[Probe, int]], int]:
    """Every kind of node of a model as a probe.

    Sizes are those that sample inputs have, so the probes are static. Quantize and dequantize nodes next to a node stay
    with it, since they are what makes it a quantized one. Nodes that differ in names and weights only are one probe.

    Args:
        file: the model; sample inputs are generated for it, of the shapes that a file NAME.json beside it says, as
            {"inputs": {"x": {"shape": [1, 3, 224, 224]}}}, where there is one.

    Returns:
        Probes, each with the number of nodes that it stands for; and how many nodes nothing could be asked about: those
        with bodies, whose inputs are no tensors, or all of whose inputs are constants.
    """
    proto = onnx.load(file)
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    graph = _Graph(proto, shapes(file))
    found: dict[str, list[Probe]] = {}
    left = 0
    for node in proto.graph.node:
        if node.op_type == "Constant":
            continue
        probe = graph.probe(node, file.stem)
        if probe is None:
            left += 1
        else:
            found.setdefault(_kind(probe), []).append(probe)
    return [(group[0], len(group)) for group in found.values()], left


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The input shapes that a file NAME.json beside a model says; none where there is no such file."""
    beside = file.with_suffix(".json")
    if not beside.exists():
        return {}
    inputs = json.loads(beside.read_text(encoding="utf-8")).get("inputs", {})
    return {name: tuple(given["shape"]) for name, given in inputs.items() if "shape" in given}


class _Graph:
    def __init__(self, proto: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> None:
        self.proto = proto
        self.producer = {name: node for node in proto.graph.node for name in node.output if name}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in proto.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        inputs = {value.name for value in proto.graph.input}
        self.constants = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name not in inputs}
        for node in proto.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.values = _run(proto, sizes)

    def probe(self, node: onnx.NodeProto, name: str) -> Probe | None:
        """The node with what quantizes it, as a model of its own."""
        if any(attribute.g.node or attribute.graphs for attribute in node.attribute):
            return None
        nodes = [*self._before(node), node, *self._after(node)]
        made = {output for one in nodes for output in one.output if output}
        outer = list(dict.fromkeys(n for one in nodes for n in one.input if n and n not in made))
        ends = [output for output in nodes[-1].output if output] if nodes[-1] is not node else []
        ends = ends or [
            output for output in node.output if output and (output in self.users or self._is_output(output))
        ]
        if not ends or not all(n in self.constants or n in self.values for n in outer):
            return None
        run = {n: self.values[n] for n in outer if n not in self.constants}
        if not run:  # alone it would be a model without inputs, which is folded away before the vendor sees it
            return None
        copies = [onnx.NodeProto.FromString(one.SerializeToString()) for one in nodes]
        for place, copy in enumerate(copies):
            copy.name = "op" if nodes[place] is node else f"q{place}"
        stored = []
        for n in outer:
            if n in self.constants:
                tensor = onnx.TensorProto.FromString(self.constants[n].SerializeToString())
                tensor.name = n
                stored.append(tensor)
        inputs = [_typed(n, array) for n, array in run.items()]
        outputs = [helper.make_empty_tensor_value_info(n) for n in ends]
        graph = helper.make_graph(copies, "node", inputs, outputs, stored)
        model = helper.make_model(
            graph, opset_imports=self.proto.opset_import, ir_version=min(self.proto.ir_version, 10)
        )
        return _probe(model, node, run, name)

    def _before(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        for name in dict.fromkeys(node.input):
            source = self.producer.get(name)
            if source is not None and node.op_type == "DequantizeLinear" and source.op_type == "QuantizeLinear":
                yield source
            if source is None or source.op_type != "DequantizeLinear" or node.op_type == "QuantizeLinear":
                continue
            first = self.producer.get(source.input[0])
            if first is not None and first.op_type == "QuantizeLinear":
                yield first
            yield source

    def _after(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        users = self.users.get(node.output[0], [])
        wanted = "DequantizeLinear" if node.op_type == "QuantizeLinear" else "QuantizeLinear"
        if node.op_type == "DequantizeLinear" or not users or any(user.op_type != wanted for user in users):
            return
        yield users[0]
        behind = self.users.get(users[0].output[0], [])
        if wanted == "QuantizeLinear" and behind and behind[0].op_type == "DequantizeLinear":
            yield behind[0]

    def _is_output(self, name: str) -> bool:
        return any(value.name == name for value in self.proto.graph.output)


def _run(proto: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Every tensor of the model on one sample."""
    model = ir.from_proto(proto)
    named = {value.name for value in model.graph.inputs}
    (sample,) = generate(model, dims={name: shape for name, shape in sizes.items() if name in named}, samples=1)
    opened = onnx.ModelProto()
    opened.CopyFrom(proto)
    del opened.graph.output[:]
    names = list(dict.fromkeys(name for node in proto.graph.node for name in node.output if name))
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {value.name: sample[value.name] for value in session.get_inputs() if value.name in sample}
    answers = dict(zip(names, session.run(names, feed), strict=True))
    return {name: value for name, value in {**answers, **feed}.items() if isinstance(value, np.ndarray)}


def _probe(model: onnx.ModelProto, node: onnx.NodeProto, run: dict[str, np.ndarray], name: str) -> Probe | None:
    answers = reference(model, run)
    if answers is None:
        return None
    for output in model.graph.output:
        output.CopyFrom(_typed(output.name, answers[output.name]))
    try:
        model = shape_inference.infer_shapes(model)
        facts = facts_of(model)
    except (shape_inference.InferenceError, AssertionError):
        return None
    domain = "" if node.domain == "ai.onnx" else node.domain
    versions = {item.domain: item.version for item in model.opset_import}
    since = (
        1 if domain else onnx.defs.get_schema(node.op_type, versions.get("", versions.get("ai.onnx", 1))).since_version
    )
    label = f"{node.op_type}-{since}/{name}:{node.name or node.output[0]}"
    return Probe(label, node.op_type, domain, since, False, model.SerializeToString(), run, answers, facts)


def _typed(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _kind(probe: Probe) -> str:
    """The same for nodes that a vendor could hardly tell apart: operators, attributes, shapes and small constants."""
    graph = onnx.load_from_string(probe.model).graph
    names: dict[str, str] = {}
    state = hashlib.sha256()
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.setdefault(name, f"t{len(names)}") if name else "" for name in field]
        node.name = ""
        state.update(node.SerializeToString(deterministic=True))
    for tensor in sorted(graph.initializer, key=lambda tensor: names[tensor.name]):
        array = numpy_helper.to_array(tensor)
        state.update(f"{names[tensor.name]}{array.dtype}{array.shape}".encode())
        state.update(array.tobytes() if array.size <= _SMALL else b"")
    for name, array in probe.inputs.items():
        state.update(f"{names[name]}{array.dtype}{array.shape}".encode())
    return state.hexdigest()


def unique(asked: list[tuple[Probe, int]]) -> list[tuple[Probe, int]]:
    """The same with ids that differ, for nodes that a model names alike."""
    seen: dict[str, int] = {}
    found = []
    for probe, count in asked:
        seen[probe.id] = seen.get(probe.id, 0) + 1
        number = seen[probe.id]
        found.append((probe if number == 1 else replace(probe, id=f"{probe.id}#{number}"), count))
    return found
