"""From a backend to its table, and what changed since the last: the whole of `graphopt probe`."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphopt.errors import MissingExtraError, UserError
from graphopt.support.backend import Backend
from graphopt.support.case import qualified
from graphopt.support.companions import companions
from graphopt.support.harness import sweep
from graphopt.support.probe import Probe, probes
from graphopt.support.result import Result
from graphopt.support.suite import suite
from graphopt.support.sweep_patterns import patterned
from graphopt.support.sweeps import operators
from graphopt.support.table import Row, Table
from graphopt.support.training import MOST, train
from graphopt.support.whole import reads, whole_probes
from graphopt.support.written import written


def measure(
    backend: Backend,
    folder: Path,
    *,
    ops: Sequence[str] | None = None,
    jobs: int = 1,
    limit: float = 60.0,
    old: Table | None = None,
    rounds: int = MOST,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Measure a backend's installed toolchain.

    Args:
        backend: what to measure; its `prober` gives the verdicts.
        folder: where the journal lies; a sweep that was interrupted goes on there.
        ops: operators to measure, as "Conv" or "com.microsoft::Gelu"; all that have probes where None.
        jobs: how many child processes run at the same time.
        limit: seconds that one probe may take.
        old: a table of the same toolchain whose rows are kept for operators that are not measured now.
        rounds: how many rounds of random probes are asked besides at most, so that what interacts shows.
        progress: told how many probes of the sweeps, then of each round, are answered, of how many.

    Raises:
        MissingExtraError: the vendor's package is not installed.
        UserError: an operator that no probe asks about, or a backend without a prober.
    """
    toolchain = backend.toolchain()
    if toolchain is None:
        raise MissingExtraError(backend.title, backend.extra)
    if not backend.prober:
        raise UserError(f"the backend {backend.name} has no prober: set `prober` in its class to measure it")
    asked = [*probes(ops), *written(ops), *suite(ops), *patterned(ops)]
    if unknown := sorted(set(ops or ()) - {probe.operator for probe in asked}):
        raise UserError(f"no probe asks about {', '.join(unknown)}: is it spelled as in ONNX, with its capitals?")
    journal = folder / f"{backend.name}.jsonl"
    prober = backend.prober

    def ask(questions: Sequence[Probe]) -> list[Result]:
        return sweep(questions, prober, journal, toolchain=toolchain, jobs=jobs, limit=limit, progress=progress)

    results = ask(asked)
    drawn = operators() if ops is None else [name for name in ops if name in operators()]
    measured = {probe.operator for probe in asked}
    before = old.rows if old is not None and old.toolchain == toolchain else ()
    kept = [row for row in before if qualified(row.domain, row.op_type) not in measured]
    whole = old.reads if old is not None and kept else reads(ask(list(whole_probes())))
    known = [*results, *companions(asked, results)]
    inferred = train(drawn, ask, known, beside=kept, reads=whole, most=rounds)
    # of operators that are not measured now the quantizing nodes beside the others are no measurement
    found = [row for row in inferred if qualified(row.domain, row.op_type) in measured]
    return Table(
        backend=backend.name,
        toolchain=toolchain,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        host=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        execution=backend.execution,
        reads=whole,
        rows=tuple(sorted([*found, *kept], key=lambda row: (row.domain, row.op_type, row.since))),
    )


def difference(old: Table, new: Table) -> list[str]:
    """What changed between two tables, a line a change; empty where they say the same.

    The days and hosts of the measurements and the vendors' words are not compared.
    """
    before, after = _says(old), _says(new)
    found = [] if old.toolchain == new.toolchain else [f"toolchain: {old.toolchain} → {new.toolchain}"]
    for what in ("opset", "ir_version", "foresight"):
        was, now = getattr(old.reads, what), getattr(new.reads, what)
        found += [f"~ reads {what}: {was or 'any'} → {now or 'any'}"] if was != now else []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"- {name}")
        elif name not in before:
            found.append(f"+ {name}: {after[name]['status']}")
        elif before[name] != after[name]:
            if before[name]["status"] != after[name]["status"]:
                found.append(f"~ {name}: {before[name]['status']} → {after[name]['status']}")
            found += [
                f"~ {name}: no longer: {line}" for line in before[name]["must"] if line not in after[name]["must"]
            ]
            found += [f"~ {name}: now: {line}" for line in after[name]["must"] if line not in before[name]["must"]]
    return found


def _says(table: Table) -> dict[str, dict[str, Any]]:
    def line(row: Row) -> str:
        first, last = row.since
        span = f"{row.op_type}-{first}" + (f"…{last}" if last != first else "")
        return f"{row.domain + '::' if row.domain else ''}{span}{' of constants' if row.status == 'folded' else ''}"

    return {
        line(row): {
            "status": row.status,
            "must": [f"{condition.must.sentence()} ({condition.effect})" for condition in row.require],
        }
        for row in table.rows
    }
