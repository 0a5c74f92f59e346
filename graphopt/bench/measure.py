"""Time models: fresh processes, alternated turns, one record a model."""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.bench.compare import Comparison, compare, incomparable
from graphopt.bench.process import Process
from graphopt.bench.samples import Subject, subjects

SCHEMA = "graphopt.bench/1"
ROUNDS, FEWEST = 12, 5
"""Turns of every model in one process, and how many they are at least where a run takes long."""
MOST_THREADS = 4
_PROFILE_SECONDS = 1.0

Listener = Callable[[str, int, int], None]
"""Told what begins now, its position, and how many steps there are."""


@dataclass(frozen=True)
class Timing:
    """How one model did.

    Attributes:
        path: the file.
        runtime: what ran it.
        note: what inputs it had where they are not those of the first model, "" else.
        runs: how many runs were timed.
        median, low, high, fastest: seconds of one run; low and high are the 10th and 90th percentiles.
        throughput: runs a second, at the mean.
        load, first: seconds to load the model and for its first run, in a fresh process.
        peak_bytes: memory of a fresh process at most, libraries included.
        base_bytes: how much of it was there before the model was loaded.
        rounds: for each process, the figure of each turn: the seconds that a quarter of its runs stay below, which
            what else the machine does moves least.
        profile: seconds of each operator in one run, the slowest first; empty where it was not asked for.
        profile_note: why there is no profile.
    """

    path: str
    runtime: str
    note: str
    runs: int
    median: float
    low: float
    high: float
    fastest: float
    throughput: float
    load: float
    first: float
    peak_bytes: int
    base_bytes: int
    rounds: tuple[tuple[float, ...], ...]
    profile: tuple[Mapping[str, Any], ...] = ()
    profile_note: str = ""


@dataclass(frozen=True)
class Benchmark:
    """All models, and how the others compare with the first.

    Attributes:
        threads: that each runtime may use.
        busy: how many processes wanted a processor in the minute before, None where the system does not say.
        processors: how many there are.
        sizes: the shape of each input.
        timings: in the order of the request.
        comparisons: one for each model but the first.
    """

    threads: int
    busy: float | None
    processors: int
    sizes: Mapping[str, tuple[int, ...]]
    timings: tuple[Timing, ...]
    comparisons: tuple[Comparison, ...]

    def as_json(self) -> dict[str, Any]:
        """The object of the schema "graphopt.bench/1"."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}


def bench(
    files: Sequence[str | Path],
    *,
    dims: Mapping[str, int | tuple[int, ...]] | None = None,
    threads: int | None = None,
    seconds: float = 3.0,
    rounds: int | None = None,
    processes: int = 3,
    optimization: str = "all",
    profile: bool = False,
    timeout: float = 600.0,
    on_progress: Listener | None = None,
) -> Benchmark:
    """Run models in turns and compare how long they take.

    Args:
        files: .onnx files, which onnxruntime runs, and files of backends that have a runtime here, as .tflite.
        dims: sizes of dynamic dimensions by name, or whole shapes by input name.
        threads: for every runtime; as many as this process may use and at most 4 where None.
        seconds: of running for each model, in all processes together.
        rounds: turns in each process; as many as fit into `seconds` where None.
        processes: how often everything is started afresh.
        optimization: of onnxruntime's graph: "all", "extended", "basic" or "none".
        profile: whether to time single operators as well.
        timeout: seconds that loading, or one turn, may take.
        on_progress: told what begins.

    Raises:
        UserError: a file is no model, or nothing here runs files of its kind.
        BenchError: a model cannot be run.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = threads or min(processors, MOST_THREADS)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    tell = on_progress or (lambda name, position, count: None)
    steps = processes * (1 + ROUNDS) + profile
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        models, sizes = subjects([str(file) for file in files], dict(dims or {}), timeout)
        for place, model in enumerate(models):
            model.store(Path(folder, f"{place}.sample"))
        loads: list[dict[str, Any]] = []
        turns: list[list[list[list[float]]]] = []
        profiles: list[list[dict[str, Any]] | str] = []
        for number in range(processes):
            tell("load", number * (1 + ROUNDS), steps)
            with ExitStack() as stack:
                running = [stack.enter_context(Process(model.file, timeout)) for model in models]
                answers = [_load(one, model, threads, optimization) for one, model in zip(running, models, strict=True)]
                loads = loads or answers
                before = number * (1 + ROUNDS) + 1
                turns.append(
                    _take_turns(running, seconds / processes, rounds, partial(_tell_turn, tell, before, steps))
                )
                if profile and not profiles:
                    tell("profile", steps - 1, steps)
                    profiles = [_profile(one, turns[0][place]) for place, one in enumerate(running)]
    timings = tuple(
        _timing(model, loads[place], [one[place] for one in turns], profiles[place] if profiles else [])
        for place, model in enumerate(models)
    )
    comparisons = tuple(_compared(timings[0], other) for other in timings[1:])
    return Benchmark(threads, busy, processors, sizes, timings, comparisons)


def _tell_turn(tell: Listener, before: int, steps: int, turn: int) -> None:
    tell("run", before + turn, steps)


def _load(process: Process, model: Subject, threads: int, optimization: str) -> dict[str, Any]:
    answer: dict[str, Any] = process.ask(
        "load", runner=model.runner, file=str(Path(model.file).resolve()), sample=model.sample_file, threads=threads,
        optimization=optimization,
    )  # fmt: skip
    return answer


def _take_turns(
    running: Sequence[Process], seconds: float, rounds: int | None, tell: Callable[[int], None]
) -> list[list[list[float]]]:
    """For each model, for each round, the seconds of every run; who begins changes from round to round."""
    single = [statistics.median(process.ask("turn", times=3)) for process in running]
    slowest = max(single)
    count = rounds or int(min(ROUNDS, max(FEWEST, seconds / max(slowest, 1e-9))))
    times = [max(1, round(seconds / count / max(one, 1e-9))) for one in single]
    found: list[list[list[float]]] = [[] for _ in running]
    for number in range(count):
        tell(number * ROUNDS // count)
        places = range(len(running)) if number % 2 else reversed(range(len(running)))
        for place in places:
            found[place].append(running[place].ask("turn", times=times[place]))
    return found


def _profile(process: Process, turns: list[list[float]]) -> list[dict[str, Any]] | str:
    single = statistics.median(run for turn in turns for run in turn)
    answer: list[dict[str, Any]] | str = process.ask("profile", runs=max(3, min(100, int(_PROFILE_SECONDS / single))))
    return answer


def _timing(
    model: Subject, load: dict[str, Any], turns: Sequence[list[list[float]]], profile: list[dict[str, Any]] | str
) -> Timing:
    runs = np.array([run for process in turns for turn in process for run in turn])
    low, median, high = (float(q) for q in np.quantile(runs, (0.1, 0.5, 0.9)))
    operators = [] if isinstance(profile, str) else sorted(profile, key=lambda one: -one["seconds"])
    return Timing(
        path=model.file, runtime=load["runtime"], note=model.note or load["note"], runs=len(runs), median=median,
        low=low, high=high, fastest=float(runs.min()), throughput=1 / float(runs.mean()), load=load["load"],
        first=load["first"], peak_bytes=load["peak_bytes"], base_bytes=load["base_bytes"],
        rounds=tuple(tuple(float(np.quantile(turn, 0.25)) for turn in process) for process in turns),
        profile=tuple(operators), profile_note=profile if isinstance(profile, str) else "",
    )  # fmt: skip


def _compared(first: Timing, other: Timing) -> Comparison:
    if other.note or first.note:
        return incomparable(f"not compared with the first: {other.note or first.note}")
    return compare(first.rounds, other.rounds)
