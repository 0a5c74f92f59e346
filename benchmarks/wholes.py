"""Put whole models to a vendor's compiler and hold its word on each node against the table's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from graphopt.ir import infer_shapes, load, save
from graphopt.ir.evaluate import Budget
from graphopt.support.backend import Backend, NodeIssue
from graphopt.support.check import check, every
from graphopt.support.harness import source
from graphopt_passes.canonicalize.fold_constants import fold


@dataclass(frozen=True)
class Compared:
    """Table and compiler on the nodes of one model.

    Attributes:
        judged: nodes that both have judged: all of a model that compiled; of one that did not, those of the main graph
            that do not depend on a node that the compiler refused, where it may have stopped.
        differ: what they disagree on: the operator and the reason, with the number of nodes.
        compiled: whether the compiler took the model whole.
        supported: whether the table does.
    """

    judged: int
    differ: Counter[str]
    compiled: bool
    supported: bool


def prepared(file: Path, shapes: dict[str, tuple[int, ...]], *, folded: bool) -> ir.Model:
    """A model with its shapes fixed, and on request with its constants folded as `graphopt run` hands it over."""
    model = load(file)
    for value in model.graph.inputs:
        if value.name in shapes and not value.is_initializer():
            value.shape = ir.Shape(shapes[value.name])
    infer_shapes(model)
    while folded and fold(model, Budget())[0]:
        infer_shapes(model)
    return model


def compare(backend: Backend, model: ir.Model, work: Path, *, timeout: float = 240.0) -> Compared:
    """Ask the compiler about a model, or look up what it said, and compare with the table."""
    status, issues = _compiled(backend, model, work, timeout)
    answer = check(model, backend.table())
    refused = {issue.node: issue for issue in issues} if status != "ok" else {}
    nodes = {node.name or _first(node): node for node in every(model.graph)}
    unsure = set(_behind([nodes[name] for name in refused if name in nodes]))
    if refused:  # what is inside a body is judged with the node that has it
        unsure.update(node for node in nodes.values() if node.graph is not model.graph)
    judged = [name for name, node in nodes.items() if node not in unsure]
    said = {finding.node: finding for finding in answer.findings}
    differ = Counter(
        f"{nodes[name].op_type}: the compiler takes it, the table does not: {said[name].reason}"
        for name in judged
        if name in said and name not in refused and "" not in refused
    )
    differ += Counter(
        f"{issue.op_type}: the table takes it, the compiler does not: {issue.reason[:120]}"
        for name, issue in refused.items()
        if name not in said
    )
    return Compared(len(judged), differ, status == "ok", answer.ok)


def _first(node: ir.Node) -> str:
    return next((value.name for value in node.outputs if value.name), "")


def _behind(nodes: list[ir.Node]) -> Iterator[ir.Node]:
    """All nodes that read what the given ones make, directly or not."""
    seen: set[ir.Node] = set()
    waiting = list(nodes)
    while waiting:
        for value in waiting.pop().outputs:
            for use in value.uses():
                if use.node not in seen:
                    seen.add(use.node)
                    waiting.append(use.node)
                    yield use.node


def _compiled(backend: Backend, model: ir.Model, work: Path, timeout: float) -> tuple[str, list[NodeIssue]]:
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        file = Path(folder, "model.onnx")
        save(model, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        kept = work / "wholes" / f"{backend.name}-{source(backend.prober)}-{digest}.json"
        if not kept.exists():
            result = backend.compile(file, Path(folder, "artifact"), timeout=timeout)
            kept.parent.mkdir(parents=True, exist_ok=True)
            issues = [dataclasses.asdict(issue) for issue in result.issues]
            kept.write_text(json.dumps({"status": result.status, "issues": issues}), encoding="utf-8")
    answer = json.loads(kept.read_text(encoding="utf-8"))
    return answer["status"], [NodeIssue(**issue) for issue in answer["issues"]]
