"""A small run with something of everything, and a browser to look at its page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphopt.report.drawing import Drawing, Graph, Node, Value
from graphopt.report.model import (
    Compile,
    Execution,
    FileFacts,
    Finding,
    OutputError,
    PassRecord,
    Report,
    Support,
    SupportChange,
    Verification,
)

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium: the one that GRAPHOPT_CHROMIUM names, one on the path, or playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        found = [os.environ.get("GRAPHOPT_CHROMIUM"), *map(shutil.which, CHROMIUMS), str(own) if own.exists() else None]
        file = next(filter(None, found), None)
        if file is None:
            pytest.skip("no Chromium here: install one (apt install chromium), or name it in GRAPHOPT_CHROMIUM")
        one = driver.chromium.launch(executable_path=file, args=["--no-sandbox"])
        yield one
        one.close()


def record(name: str, before: int, after: int, outcome: str = "applied", detail: str = "") -> PassRecord:
    return PassRecord(
        name=name,
        source="graphopt 0.1.0",
        fidelity="rounding" if name.startswith("fuse") else "exact",
        rewrites=abs(before - after),
        nodes_before=before,
        nodes_after=after,
        seconds=0.08,
        outcome=outcome,  # type: ignore[arg-type]
        detail=detail,
    )


@pytest.fixture
def report() -> Report:
    """A run that ended with "ok": two nodes that the target refused are gone, and the artifact agrees."""
    gather = Finding(
        node="Shape_12",
        op_type="Shape",
        reason="not taken in any form",
        evidence="probe 17/shape-1",
        remedy="give the inputs fixed sizes and run fold-constants",
    )
    output = OutputError(name="softmax_0", max_abs_error=2e-7, max_rel_error=1e-5, cosine=1.0, sqnr_db=132.25)
    passes = (
        record("fold-constants", 412, 380),
        record("dedupe", 380, 380, "unchanged"),
        record("fuse-conv-bn", 380, 327),
        record("fuse-gelu", 327, 327, "rolled_back", "output 'softmax_0' moved by 0.25, more than rounding"),
        record("legalize", 327, 330),
    )
    return Report(
        graphopt="0.1.0",
        backend="tflite",
        status="ok",
        input=FileFacts(path="cls.onnx", sha256="ab" * 32, opset=11, nodes=412, parameters=138_244, bytes=585_532),
        output=FileFacts(
            path="out/model.onnx", sha256="cd" * 32, opset=17, nodes=330, parameters=136_000, bytes=560_000
        ),
        passes=passes,
        support=SupportChange(
            before=Support(nodes=412, supported=410, unsupported=(gather, gather)),
            after=Support(nodes=330, supported=330),
        ),
        verification=Verification(status="passed", inputs="generated", samples=4, outputs=(output,)),
        compile=Compile(
            status="ok",
            toolchain="ai-edge-litert 2.3.0",
            artifact="out/model.tflite",
            bytes=571_000,
            seconds=1.25,
            execution=Execution(status="passed", outputs=(output,), runtime="LiteRT CPU"),
        ),
        recipe='backend = "tflite"\n\n[[pass]]\nname = "fold-constants"\n',
        seconds=1.9,
        peak_rss_bytes=512_000_000,
    )


@pytest.fixture
def drawing() -> Drawing:
    """Conv, BatchNormalization and Relu, of which the first two became one Conv, and a Shape that was folded."""
    x = Value(name="x", dtype="float32", shape="1×3×8×8")
    wide = [Value(name=name, dtype="float32", shape="1×4×8×8") for name in ("c", "b", "softmax_0")]
    weight = Value(name="w", dtype="float32", shape="4×3×3×3", constant=True)
    size = Value(name="s", dtype="int64", shape="4")
    conv = Node(name="Conv_0", op_type="Conv", inputs=(0, 1), outputs=(2,), attributes={"group": "1"}, macs=6912,
                parameters=108, bytes=432)  # fmt: skip
    norm = Node(name="Norm_0", op_type="BatchNormalization", inputs=(2,), outputs=(3,))
    relu = Node(name="Relu_0", op_type="Relu", inputs=(3,), outputs=(4,))
    shape = Node(name="Shape_12", op_type="Shape", inputs=(4,), outputs=(5,))
    fused = Node(name="Conv_0", op_type="Conv", inputs=(0, 1), outputs=(2,), made_by="fuse-conv-bn/conv-bn",
                 sources=("Conv_0", "Norm_0"), macs=6912, parameters=108, bytes=432)  # fmt: skip
    after = Node(name="Relu_0", op_type="Relu", inputs=(2,), outputs=(3,))
    return Drawing(
        before=Graph(nodes=(conv, norm, relu, shape), values=(x, weight, *wide, size), inputs=(0,), outputs=(4,)),
        after=Graph(nodes=(fused, after), values=(x, weight, *wide[1:]), inputs=(0,), outputs=(3,)),
    )


@pytest.fixture
def rejected(report: Report) -> Report:
    """A run that ended with "rejected": two nodes are left, and the compiler refused."""
    left = tuple(
        Finding(
            node=f"NonZero_{i}",
            op_type="NonZero",
            reason="its output has a size that depends on data",
            evidence="probe 17/nonzero-1",
            remedy="cut the model before it and run the rest on the host",
        )
        for i in range(5)
    )
    assert report.support is not None
    return replace(
        report,
        status="rejected",
        reason="5 nodes are left that tflite does not take",
        notes=("plugin acme-passes was left out: No module named 'acme'",),
        support=SupportChange(before=report.support.before, after=Support(nodes=330, supported=325, unsupported=left)),
        compile=Compile(
            status="failed",
            toolchain="ai-edge-litert 2.3.0",
            seconds=0.4,
            issues=(Finding(node="NonZero_0", op_type="NonZero", reason="failed to legalize operation"),),
        ),
        passes=report.passes[:3],
    )
