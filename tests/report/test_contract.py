"""The JSON that scripts rely on, literally."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UserError
from graphopt.report.model import (
    BackendCheck,
    Check,
    CheckedModel,
    FileFacts,
    Finding,
    Histogram,
    Layer,
    OutputError,
    Partition,
    Report,
    Rewrite,
    Segment,
    Speed,
    Verification,
    check_from_json,
    from_json,
    to_json,
)

FILE = ["path", "sha256", "opset", "nodes", "parameters", "bytes"]
OUTPUT = ["name", "max_abs_error", "max_rel_error", "cosine", "sqnr_db"]


def test_report_has_exactly_the_keys_of_the_contract_in_their_order(report: Report) -> None:
    data = to_json(report)
    assert list(data) == [
        "schema", "graphopt", "backend", "status", "input", "output", "passes", "support", "verification", "compile",
        "recipe", "seconds", "peak_rss_bytes",
    ]  # fmt: skip
    assert data["schema"] == "graphopt.report/1"
    assert list(data["input"]) == list(data["output"]) == FILE
    assert list(data["support"]) == ["before", "after"]
    assert list(data["support"]["before"]) == ["nodes", "supported", "unsupported"]
    assert list(data["verification"]) == ["status", "inputs", "samples", "outputs"]
    assert list(data["compile"]) == ["status", "toolchain", "artifact", "bytes", "seconds", "execution"]
    assert list(data["verification"]["outputs"][0]) == OUTPUT


def test_a_pass_a_finding_and_an_execution_look_literally_like_this(report: Report) -> None:
    data = to_json(report)
    assert data["passes"][2] == {
        "name": "fuse-conv-bn", "source": "graphopt 0.1.0", "fidelity": "rounding", "rewrites": 53,
        "nodes_before": 380, "nodes_after": 327, "seconds": 0.08, "outcome": "applied", "detail": "",
    }  # fmt: skip
    assert data["support"]["before"]["unsupported"][0] == {
        "node": "Shape_12", "op_type": "Shape", "reason": "not taken in any form", "evidence": "probe 17/shape-1",
        "remedy": "give the inputs fixed sizes and run fold-constants",
    }  # fmt: skip
    output = {"name": "softmax_0", "max_abs_error": 2e-7, "max_rel_error": 1e-5, "cosine": 1.0, "sqnr_db": 132.25}
    assert data["compile"]["execution"] == {"status": "passed", "outputs": [output], "runtime": "LiteRT CPU"}


def test_check_looks_literally_like_this() -> None:
    finding = Finding(node="a", op_type="NonZero", reason="r", evidence="e", remedy="m")
    answer = BackendCheck(
        toolchain="onnxruntime-qnn 2.7.0", nodes=412, supported=411, segments=3, unsupported=(finding,)
    )
    check = Check(model=CheckedModel(path="m.onnx", nodes=412), backends={"snpe": answer})
    unsupported = [{"node": "a", "op_type": "NonZero", "reason": "r", "evidence": "e", "remedy": "m"}]
    data = to_json(check)
    assert data == {
        "schema": "graphopt.check/1",
        "model": {"path": "m.onnx", "nodes": 412},
        "backends": {
            "snpe": {"toolchain": "onnxruntime-qnn 2.7.0", "nodes": 412, "supported": 411, "segments": 3,
                     "unsupported": unsupported}
        },
    }  # fmt: skip
    assert check_from_json(json.loads(json.dumps(data))) == check


def test_a_report_comes_back_from_json_as_it_was(report: Report, rejected: Report) -> None:
    rich = replace(
        report,
        speed=Speed(original_ms=12.0, optimized_ms=5.0, runtime="LiteRT CPU"),
        passes=(replace(report.passes[0], log=(Rewrite(rule="fold", removed=("a", "b"), added=("c",)),)),),
        provenance={"c": ("a", "b")},
        layers=(Layer(node="c", op_type="Conv", metrics={"sqnr_db": 41.0}),),
        input=replace(report.input, macs=0),
        partition=Partition(
            segments=(Segment(supported=True, nodes=3, first="a", last="b", macs=9),), crossing_bytes=4
        ),
        histograms=(Histogram(name="c", kind="weights", low=-1.0, high=1.0, counts=(1, 2), codes=(-0.5, 0.5)),),
    )
    for record in (report, rejected, rich):
        assert from_json(json.loads(json.dumps(to_json(record), allow_nan=False))) == record


numbers = st.none() | st.floats()


@given(st.lists(st.builds(OutputError, name=st.text(), **dict.fromkeys(OUTPUT[1:], numbers)), max_size=4))
def test_json_holds_neither_nan_nor_infinity_and_reads_back_alike(outputs: list[OutputError]) -> None:
    data = to_json(_failed(tuple(outputs)))
    assert to_json(from_json(json.loads(json.dumps(data, allow_nan=False)))) == data


def test_numpy_numbers_and_odd_file_names_become_plain_json(report: Report) -> None:
    numpy = pytest.importorskip("numpy")
    odd = replace(report.input, path=b"caf\xe9.onnx".decode("utf-8", "surrogateescape"), nodes=numpy.int64(7))
    data = to_json(replace(report, input=odd, seconds=numpy.float32(0.5)))
    assert json.loads(json.dumps(data, ensure_ascii=False).encode())["input"]["path"] == "caf\\udce9.onnx"
    assert (data["input"]["nodes"], data["seconds"]) == (7, 0.5)
    assert type(data["input"]["nodes"]) is int


@pytest.mark.parametrize(
    ("change", "named"),
    [({"schema": "graphopt.report/9"}, "schema"), ({"status": "fine"}, "status"), ({"input": {}}, "input.path")],
)
def test_a_wrong_report_is_refused_with_the_name_of_its_key(report: Report, change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        from_json({**to_json(report), **change})


def test_keys_of_a_newer_report_are_passed_over(report: Report) -> None:
    assert from_json({**to_json(report), "from_the_future": 1}) == report


def test_identical_outputs_rank_above_any_decibels_and_broken_ones_below() -> None:
    def output(error: float | None, sqnr: float | None) -> OutputError:
        return OutputError(name="y", max_abs_error=error, max_rel_error=error, cosine=None, sqnr_db=sqnr)

    assert output(0.0, None).decibels == math.inf
    assert output(0.0, math.inf).decibels == math.inf
    assert output(None, None).decibels == output(math.nan, math.nan).decibels == -math.inf
    assert output(1e-3, 40.0).decibels == 40.0


def _failed(outputs: tuple[OutputError, ...]) -> Report:
    facts = FileFacts(path="m.onnx", sha256="", opset=17, nodes=1, parameters=0, bytes=1)
    verification = Verification(status="failed", samples=1, outputs=outputs)
    return Report(backend=None, status="rejected", input=facts, output=None, verification=verification)
