"""How much of ONNX's operator test suite converts to other opset versions, and what stands in the way of the rest.

    python benchmarks/opset_conversion.py [--ops Resize,Softmax] [--targets 9,13,17] [--why]

Every test of one operator is converted from its own opset to each target and back again; the original and both results
run in onnxruntime on the test's inputs. Where an opset is newer than onnxruntime reads, the test's own answers are what
a result is held against. As exporters do, every input but the first floating-point one is a constant.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from graphopt.errors import GraphoptError
from graphopt.ir import load
from graphopt.ir.io import to_proto
from graphopt.pipeline import PASSES, Context
from graphopt.verify import compare, holds, run
from graphopt.verify.execute import ExecutionFailed

TARGETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26)
RANDOM = ("Bernoulli", "RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike", "Multinomial")
Arrays = dict[str, np.ndarray]


def cases(ops: set[str]) -> Iterator[tuple[str, onnx.ModelProto, Arrays, Arrays]]:
    """Tests of one operator of the default domain, with their constants made constants, what to feed, the answers."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for test in tests:
        proto = test.model
        node = proto.graph.node[0] if len(proto.graph.node) == 1 else None
        if node is None or node.domain not in ("", "ai.onnx") or node.op_type in RANDOM:
            continue
        if (ops and node.op_type not in ops) or any(not v.type.HasField("tensor_type") for v in proto.graph.input):
            continue
        made = frozen(proto, test.data_sets[0][0])
        if made is not None:
            answers = zip(proto.graph.output, test.data_sets[0][1], strict=False)
            yield test.name.removeprefix("test_"), *made, {value.name: _array(item) for value, item in answers}


def frozen(proto: onnx.ModelProto, inputs: list[Any]) -> tuple[onnx.ModelProto, Arrays] | None:
    """The model with every input but its data as a constant, and the data."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.ir_version = 10
    floats = [v.name for v in copy.graph.input if v.type.tensor_type.elem_type in (1, 10, 11, 16)]
    values = list(copy.graph.input)
    data = floats[0] if floats else values[0].name if values else ""
    del copy.graph.input[:]
    feeds: Arrays = {}
    for value, item in zip(values, inputs, strict=False):
        array = _array(item)
        if value.name == data:
            copy.graph.input.append(value)
            feeds[value.name] = array
        else:
            kept = array.astype(object) if array.dtype.kind == "U" else array
            tensor = numpy_helper.from_array(kept, value.name)
            copy.graph.initializer.append(tensor)
    return copy, feeds


def _array(item: Any) -> np.ndarray:
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)


def converted(model: onnx.ModelProto | ir.Model, target: int, *, check: bool) -> ir.Model:
    """A model at another opset."""
    again = load(model if isinstance(model, onnx.ModelProto) else to_proto(model))
    PASSES.find("convert-opset").load()(target=target).run(again, Context())
    onnx.checker.check_model(to_proto(again), full_check=check)
    return again


def passes_checker(model: onnx.ModelProto) -> bool:
    """Whether the onnx package's own shape inference agrees with a test as it stands."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def verdict(model: ir.Model, feeds: Mapping[str, np.ndarray], expected: Arrays) -> str:
    """How the outputs of a model agree with the expected ones."""
    try:
        actual = run(model, [feeds])[0]
    except ExecutionFailed as error:
        return f"onnxruntime does not run it: {str(error)[:160]}"
    pairs = [(expected[name], actual[name]) for name in expected if name in actual]
    if len(pairs) == len(expected) and all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs):
        return "exact"
    if any(a.dtype.kind == "V" for a in expected.values()):
        return "WRONG: other bits"
    for fidelity in ("exact", "rounding"):
        ok, reason = holds(fidelity, compare([expected], [actual]))  # type: ignore[arg-type]
        if ok:
            return fidelity
    return f"WRONG: {reason}"


def main() -> None:
    """Convert, run, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ops", default="")
    parser.add_argument("--targets", default=",".join(map(str, TARGETS)))
    parser.add_argument("--why", action="store_true", help="print every refusal")
    given = parser.parse_args()
    totals: dict[int, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    bad = []
    for name, proto, feeds, answers in cases(set(filter(None, given.ops.split(",")))):
        own = next(o.version for o in proto.opset_import if not o.domain)
        newer = own > TARGETS[-1]
        try:
            expected = answers if newer else run(load(proto), [feeds])[0]
        except (ExecutionFailed, GraphoptError):
            totals[0]["onnxruntime does not run the test itself"] += 1
            continue
        totals[0]["run"] += 1
        valid = passes_checker(proto)
        for target in map(int, given.targets.split(",")):
            try:
                there = converted(proto, target, check=valid)
            except GraphoptError as refused:
                totals[target]["refused"] += 1
                reasons[f"{proto.graph.node[0].op_type}: {str(refused).split('): ', 1)[-1]}"] += 1
                continue
            except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
                totals[target]["INVALID"] += 1
                bad.append(f"{name} {own} -> {target}: {str(error).splitlines()[0][:200]}")
                continue
            try:
                back = converted(there, own, check=valid)
            except (GraphoptError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
                totals[target]["NOT BACK"] += 1
                bad.append(f"{name} {own} -> {target} and back: {str(error)[:200]}")
                continue
            for what, model in (("", there), *([] if newer else [(" and back", back)])):
                found = verdict(model, feeds, expected)
                totals[target][found.split(":")[0] + what] += 1
                if found not in ("exact", "rounding"):
                    bad.append(f"{name} {own} -> {target}{what}: {found}")
    for target, counts in sorted(totals.items()):
        print(f"{target:3d}" if target else "all", ", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    for line in bad[:200]:
        print("!", line)
    if given.why:
        for reason, count in reasons.most_common():
            print(f"{count:5d} {reason}")


if __name__ == "__main__":
    main()
