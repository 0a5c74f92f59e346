"""The ONNX operator tests on their way to each vendor: taken as they are, taken after graphopt, right in its runtime.

    python benchmarks/operators.py [-b NAME ...] [--only TEXT] [--work FOLDER] [--jobs N] [-o FILE.md]

A case is a test model of the onnx package with its first set of data. As a real exporter does, every input but the
data becomes a constant. The vendors' packages must be installed; answers are kept in the work folder, so that a run
that was interrupted goes on there. TensorRT-RTX compiles and does not run here, so nothing is said of its numbers.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from graphopt import optimize
from graphopt.errors import GraphoptError
from graphopt.ir import to_proto
from graphopt.pipeline import make_backend
from graphopt.support.backend import Backend
from graphopt.support.harness import Result, sweep
from graphopt.support.probe import Probe

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
OPERANDS = dict.fromkeys(("MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Equal", "Max", "Min"), 2) | {"Attention": 3}
"""How many of the first inputs are data in a real model, for operators that compute with more than one."""
SETTINGS = {"axes", "axis", "depth", "k", "K", "repeats", "shape", "pads", "split", "starts", "ends", "steps", "sizes"}
"""Names of inputs that are constants in a real model."""
SIZED_BY_VALUES = {
    "Compress", "NonZero", "Unique", "NonMaxSuppression", "TfIdfVectorizer", "HannWindow", "HammingWindow",
    "BlackmanWindow", "MelWeightMatrix", "Range",
}  # fmt: skip


@dataclass
class Tally:
    """What came of the cases of one backend; names by outcome."""

    excluded: dict[str, str] = field(default_factory=dict)
    raw: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    right: set[str] = field(default_factory=set)
    rest: dict[str, str] = field(default_factory=dict)
    asked: int = 0


def cases(only: str) -> Iterator[tuple[str, Any]]:
    """Names and tests of the onnx package."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for test in load_model_tests(kind="node"):
            if only in test.name:
                yield test.name.removeprefix("test_"), test


def foreign(backend: Backend, toolchain: str, work: Path) -> tuple[set[int], set[int]]:
    """Element types that a vendor takes for no input or output: it passes none on, and turns none into floats.

    Returns:
        Those, and the ones that it has as codes for a DequantizeLinear, and not for a Cast.
    """
    probes = []
    for kind in sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}):
        try:
            array = np.zeros(2, onnx.helper.tensor_dtype_to_np_dtype(kind))
        except TypeError:
            continue
        for op_type, to in (("Identity", kind), ("Cast", TensorProto.FLOAT), ("DequantizeLinear", TensorProto.FLOAT)):
            said, scale = ({"to": to} if op_type == "Cast" else {}), ["s"] if op_type == "DequantizeLinear" else []
            node = onnx.helper.make_node(op_type, ["x", *scale], ["y"], name="node", **said)
            ends = [onnx.helper.make_tensor_value_info(n, t, [2]) for n, t in (("x", kind), ("y", to))]
            one = [numpy_helper.from_array(np.array(1, np.float32), name) for name in scale]
            graph = onnx.helper.make_graph([node], "type", ends[:1], ends[1:], one)
            opset = [onnx.helper.make_opsetid("", 25)]
            content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=11).SerializeToString()
            answer = {"y": array.real.astype(onnx.helper.tensor_dtype_to_np_dtype(to))}
            probes.append(Probe(f"{op_type}/{kind}", op_type, "", 1, False, content, {"x": array}, answer, {}))
    journal = work / f"{backend.name}.types.jsonl"
    answers = sweep(probes, backend.prober, journal, toolchain=toolchain, jobs=1, progress=lambda done, count: None)
    taken: dict[int, set[str]] = {kind: set() for kind in TensorProto.DataType.values()}
    for answer in answers:
        if answer.effect in (None, "wrong result"):
            taken[int(answer.id.split("/")[1])].add(answer.id.split("/")[0])
    never = {kind for kind, by in taken.items() if not by}
    return never, {kind for kind, by in taken.items() if "DequantizeLinear" in by and "Cast" not in by}


def excluded(model: onnx.ModelProto, dynamic: bool, types: set[int], codes: set[int]) -> str:
    """Why a backend cannot express a case at all, "" where it can.

    Args:
        model: the case.
        dynamic: whether the backend has tensors whose size depends on values.
        types: element types that it has not.
        codes: element types that it makes by quantization alone.
    """
    if any(item.domain == "ai.onnx.preview.training" for item in model.opset_import):
        return "a training operator"
    cast = any(node.op_type in ("Cast", "CastLike") for node in model.graph.node)
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"a {kind.removesuffix('_type')} at the interface"
        if value.type.tensor_type.elem_type in types:
            return f"{TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()} at the interface"
        if value.type.tensor_type.elem_type in codes and cast:
            return f"{TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()} without quantization"
    ops = {node.op_type for node in model.graph.node}
    if ops & RANDOM or any(node.op_type == "Dropout" and len(node.input) > 2 for node in model.graph.node):
        return "a random result"
    # Exporters know the shape that a ConstantOfShape has; as the only node it gets it at run time.
    sized = ops & SIZED_BY_VALUES or ops == {"ConstantOfShape"} or model.graph.name.startswith("test_range_")
    if sized and not dynamic:
        return "a result whose size depends on values"
    if "ImageDecoder" in ops:
        return "a compressed image at the interface"
    return ""


def exported(name: str, test: Any) -> Probe | None:
    """A case as an exporter would write it; None where nothing is computed at run time."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    given, answers = test.data_sets[0]
    inputs = [_array(item) for item in given]
    expected = {v.name: _array(item) for v, item in zip(model.graph.output, answers, strict=False)}
    values = list(model.graph.input)
    floats = [v for v in values if v.type.tensor_type.elem_type in (1, 10, 11)]
    data = _data(model, values, floats)
    del model.graph.input[:]
    run = {}
    for value, array in zip(values, inputs, strict=False):
        if value.name in data:
            model.graph.input.append(value)
            run[value.name] = array
        else:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    if not run:
        return None
    op_type = model.graph.node[0].op_type
    return Probe(name, op_type, "", 1, False, model.SerializeToString(), run, expected, {})


def _data(model: onnx.ModelProto, values: Sequence[Any], floats: Sequence[Any]) -> set[str]:
    """Names of the inputs that are data: the first floating-point one, and what a binary operator computes with."""
    count = OPERANDS.get(model.graph.node[0].op_type, 0) if len(model.graph.node) == 1 else 0
    data = [value for value in floats or values if value.name not in SETTINGS] or list(values)
    return {value.name for value in (values[:count] if count else data[:1])}


def _array(item: Any) -> np.ndarray:
    return numpy_helper.to_array(item) if isinstance(item, TensorProto) else np.asarray(item)


def through(probe: Probe, backend: Backend) -> Probe | str:
    """The case after graphopt, or why it has no answer."""
    try:
        result = optimize(onnx.load_from_string(probe.model), backend=backend, compile=False, verify="off")
    except GraphoptError as error:
        return str(error).splitlines()[0]
    model = to_proto(result.model)
    return Probe(
        probe.id, probe.op_type, "", 1, False, model.SerializeToString(), probe.inputs, probe.expected, {}
    )  # fmt: skip


def measure(name: str, work: Path, only: str, jobs: int) -> Tally:
    """All cases on one backend."""
    backend = make_backend(name)
    toolchain = backend.toolchain()
    if toolchain is None:
        raise SystemExit(f"{name}: its toolchain is not installed: pip install 'graphopt[{backend.extra}]'")
    tally, (types, codes) = Tally(), foreign(backend, toolchain, work)
    before: list[Probe] = []
    for case, test in cases(only):
        reason = excluded(test.model, dynamic=name == "tensorrt", types=types, codes=codes)
        probe = None if reason else exported(case, test)
        if probe is None:
            tally.excluded[case] = reason or "nothing is computed at run time"
        else:
            before.append(probe)
    tally.asked = len(before)
    after: list[Probe] = []
    for index, probe in enumerate(before):
        _say(f"{name}: graphopt {index + 1} of {len(before)}")
        made = through(probe, backend)
        if isinstance(made, str):
            tally.rest[probe.id] = f"graphopt: {made}"
        else:
            after.append(made)

    def ask(probes: list[Probe], kind: str) -> list[Result]:
        journal = work / f"{name}.{kind}.jsonl"
        return sweep(
            probes, backend.prober, journal, toolchain=toolchain, jobs=jobs,
            progress=lambda done, count: _say(f"{name}: {kind} {done} of {count}"),
        )  # fmt: skip

    for answer in ask(before, "raw"):
        if answer.effect in (None, "wrong result"):
            tally.raw.add(answer.id)
    for answer in ask(after, "after"):
        if answer.effect in (None, "wrong result"):
            tally.taken.add(answer.id)
        if answer.effect is None:
            tally.right.add(answer.id)
        else:
            tally.rest[answer.id] = f"{answer.effect}: {answer.says}"
    return tally


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<100}", end="", file=sys.stderr, flush=True)


def report(name: str, tally: Tally) -> str:
    """One backend's part of the result, as Markdown."""
    lines = [
        f"## {name}", "",
        f"{tally.asked} cases: {len(tally.raw)} taken as they are → {len(tally.taken)} taken after graphopt → "
        f"{len(tally.right)} right ({len(tally.right) / max(tally.asked, 1):.1%})", "",
        f"{len(tally.excluded)} cases that cannot be expressed: "
        + ", ".join(f"{count} {reason}" for reason, count in Counter(tally.excluded.values()).most_common()), "",
        "| the rest | why |", "|---|---|",
        *(f"| {case} | {reason.replace('|', '/')} |" for case, reason in sorted(tally.rest.items())), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-b", "--backend", action="append", default=[])
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--work", type=Path, default=Path("bench-out/operators"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    parts = []
    for name in given.backend or ["tflite", "tensorrt", "snpe"]:
        parts.append(report(name, measure(name, given.work, given.only, given.jobs)))
        print(parts[-1])
    if given.output:
        given.output.write_text("# The ONNX operator tests on each backend\n\n" + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
