"""Build an engine ahead of time, with no GPU. Runs in a child process."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import tensorrt_rtx_bindings as trt

from graphopt.support.backend import NodeIssue
from graphopt_backends.tensorrt import diagnose
from graphopt_backends.tensorrt.network import Parsed, ShapeInputError, builder, parse, ranges

_WARNINGS = 20


def compile_model(model: str, out: str, targets: Sequence[str]) -> dict[str, Any]:
    """Build one engine for all targets and write it to the file `out`.

    Only a finished build counts: the parser's `supports_model_v2` says yes to models that do not build.

    Args:
        model: an ONNX file.
        out: where to write the engine.
        targets: compute capabilities, as "sm89".

    Returns:
        `issues`, empty if and only if the engine is complete; `layers`: how many of each type the network has;
        `profile`: the ranges given to dynamic inputs; `warnings`: the first of TensorRT's.
    """
    path = Path(model)
    proto = onnx.load(path, load_external_data=False)
    parsed = parse(path)
    if not parsed.ok:
        return _failed(diagnose.parser_issues(parsed.parser, proto))
    try:
        dynamic = ranges(parsed.network)
    except ShapeInputError as error:
        return _failed([NodeIssue("", "", str(error))])
    log = builder()[1]
    plan = build(parsed, targets, dynamic.profile if dynamic else None)
    shapes = dynamic.shapes if dynamic else {}
    if plan is None:
        issues = diagnose.build_issues(log.errors, parsed.layers(), diagnose.nodes(proto))
        issues = issues or [NodeIssue("", "", "TensorRT builds no engine and gives no reason")]
        if shapes and any("profile" in issue.reason or "kOPT" in issue.reason for issue in issues):
            tried = "; ".join(f"{name} {' ≤ '.join(map(str, sizes))}" for name, sizes in shapes.items())
            issues.append(NodeIssue("", "", f"the model does not take the range that was tried ({tried}): use --dim"))
        return _failed(issues)
    with Path(out).open("wb") as engine:
        engine.write(memoryview(plan))
    return {
        "issues": [],
        "layers": dict(Counter(kinds(parsed)).most_common()),
        "profile": shapes,
        "warnings": list(dict.fromkeys(log.warnings))[:_WARNINGS],
    }


def build(parsed: Parsed, targets: Sequence[str], profile: trt.IOptimizationProfile | None) -> trt.IHostMemory | None:
    """Build a parsed network for compute capabilities; None where TensorRT fails, with the reason in the log."""
    make = builder()[0]
    config = make.create_builder_config()
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
    if profile is not None:
        config.add_optimization_profile(profile)
    return make.build_serialized_network(parsed.network, config)


def kinds(parsed: Parsed) -> list[str]:
    """The type of each layer of the network, as "CONVOLUTION"."""
    return [str(layer.type).rpartition(".")[2] for layer in parsed.layers()]


def _failed(issues: Sequence[NodeIssue]) -> dict[str, Any]:
    return {"issues": [dataclasses.asdict(issue) for issue in issues]}
