"""Thousands of seeds in parallel processes, and what they showed in a table.

    python -m graphopt.fuzz.campaign N [--first SEED] [--processes P] [--seconds S] [--folder bench-out/fuzz]

Each process has a hash seed of its own, and one seed in some is worked by two of them: the bytes must be the same.
Exit code 0 where nothing failed and every rule of the registry fired, 1 elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from graphopt.fuzz.draw import all_rules
from graphopt.fuzz.trial import KINDS

_HANG = 300.0
"""Seconds without a word after which a process counts as hanging."""
_AGAIN = 20
"""One seed in so many is worked twice, by processes with other hash seeds."""


@dataclass
class Tally:
    """What the seeds showed so far.

    Attributes:
        done: seeds worked.
        undrawn: seeds that make no model.
        operators: how many models each operator was in.
        fired: applications of rules.
        notes: what settled differences.
        failures: what went wrong, each with its seed.
        digests: of the bytes that a seed makes.
    """

    done: int = 0
    undrawn: int = 0
    operators: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)

    def add(self, told: dict[str, Any]) -> None:
        """Count what one seed showed."""
        seed = told["seed"]
        if "undrawn" in told:
            self.done, self.undrawn = self.done + 1, self.undrawn + 1
            return
        if seed in self.digests:
            if self.digests[seed] != told["digest"]:
                self.fail(seed, "unrepeated", "another process makes other bytes")
            return
        self.digests[seed] = told["digest"]
        self.done += 1
        self.operators.update(told["operators"])
        self.fired.update(told["fired"])
        self.notes.update(note.partition(":")[0] for note in told["notes"])
        self.failures += [{"seed": seed, **failure} for failure in told["failures"]]

    def fail(self, seed: int, kind: str, words: str) -> None:
        """Note a failure that no process told itself."""
        self.failures.append({"seed": seed, "kind": kind, "blamed": "the pipeline", "words": words})

    def silent(self) -> list[str]:
        """Rules of the registry that never fired."""
        return [str(one) for one in all_rules() if not self.fired[str(one)]]


class _Worker(threading.Thread):
    """Keeps one process at work, and starts another where it ends or hangs."""

    def __init__(self, number: int, seeds: range, folder: str, tally: Tally, lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self.number, self.seeds, self.folder, self.tally, self.lock = number, seeds, folder, tally, lock
        self.stopped = False
        self.child: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """Stop the process, and start no other."""
        self.stopped = True
        if self.child is not None:
            self.child.kill()

    def run(self) -> None:
        start = self.seeds.start
        while start < self.seeds.stop and not self.stopped:
            start = self._process(start)

    def _process(self, start: int) -> int:
        """Work seeds in one process; returns the first that is still to do."""
        command = [sys.executable, "-m", "graphopt.fuzz.work"]
        command += [*map(str, (start, self.seeds.stop, self.seeds.step)), self.folder]
        environment = {**os.environ, "PYTHONHASHSEED": str(self.number + 1), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            self.child = child
            at: int | None = None
            drawn = False
            watch = threading.Timer(_HANG, child.kill)
            watch.start()
            for line in child.stdout:
                watch.cancel()
                watch = threading.Timer(_HANG, child.kill)
                watch.start()
                told = json.loads(line)
                if "begins" in told or "drawn" in told:
                    at, drawn = told.get("begins", at), "drawn" in told
                    continue
                with self.lock:
                    self.tally.add(told)
                start, at = told["seed"] + self.seeds.step, None
            watch.cancel()
        if (at is not None or child.returncode) and not self.stopped:
            words = f"the process ended with {child.returncode}, or hung for {_HANG:.0f} s"
            with self.lock:
                # Before a model is drawn only the runtime is at work: what it cannot take is no model to try.
                if drawn or at is None:
                    self.tally.fail(start, "crash", words)
                else:
                    self.tally.add({"seed": start, "undrawn": words})
            return start + self.seeds.step
        return self.seeds.stop


def campaign(count: int, first: int, processes: int, folder: str, seconds: float = float("inf")) -> Tally:
    """Work through `count` seeds from `first` on, with progress on standard error.

    Args:
        count: how many seeds.
        first: the first of them.
        processes: how many processes, not counting the one that works some seeds again.
        folder: where failures are written; "" writes none.
        seconds: after which no more seeds are begun; Ctrl-C has the same effect.
    """
    tally, lock, start = Tally(), threading.Lock(), time.monotonic()
    stop = first + count
    jobs = [range(first + number, stop, processes) for number in range(processes)]
    # The seeds worked twice go to a process that has not worked them yet.
    jobs += [range(first, stop, _AGAIN)]
    workers = [_Worker(number, seeds, folder, tally, lock) for number, seeds in enumerate(jobs)]
    for worker in workers:
        worker.start()
    with contextlib.suppress(KeyboardInterrupt):
        while any(worker.is_alive() for worker in workers) and time.monotonic() - start < seconds:
            time.sleep(2)
            with lock:
                rate = tally.done / (time.monotonic() - start)
                line = f"{tally.done} of {count}, {len(tally.failures)} failures, {rate:.1f} a second"
            sys.stderr.write(f"\r{line:<70}")
            sys.stderr.flush()
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join()
    sys.stderr.write("\n")
    return tally


def table(tally: Tally) -> str:
    """What a campaign showed, in lines for people."""
    known = len(all_rules())
    silent = tally.silent()
    failed = Counter(failure["kind"] for failure in tally.failures)
    rows = [
        ("models", tally.done - tally.undrawn),
        ("seeds that make none", tally.undrawn),
        ("distinct operators", len(tally.operators)),
        ("rules that fired", f"{known - len(silent)} of {known}"),
        ("applications of rules", sum(tally.fired.values())),
        *((f"settled: {note}", count) for note, count in tally.notes.most_common()),
        *((f"failures: {kind}", failed[kind]) for kind in KINDS),
    ]  # fmt: skip
    lines = [f"{name[:66]:<68}{value:>12}" for name, value in rows]
    lines += [f"never fired: {name}" for name in silent]
    lines += [
        f"seed {one['seed']}: {one['kind']} in {one['blamed']}: {one['words'][:160]} {one.get('file', '')}"
        for one in tally.failures
    ]
    return "\n".join(lines)


def main() -> int:
    """Run a campaign as the command line says."""
    parser = argparse.ArgumentParser(description="Fuzz graphopt with random models.")
    parser.add_argument("count", type=int, help="how many models")
    parser.add_argument("--first", type=int, default=None, help="the first seed; by default the time of day")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", default="bench-out/fuzz", help="where failures are written, made small")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then, as Ctrl-C does")
    told = parser.parse_args()
    first = int(time.time()) % 10**6 * 1000 if told.first is None else told.first
    sys.stderr.write(f"seeds from {first} on\n")
    tally = campaign(told.count, first, told.processes, told.folder, told.seconds)
    sys.stdout.write(table(tally) + "\n")
    return int(bool(tally.failures) or bool(tally.silent()))


if __name__ == "__main__":
    sys.exit(main())
