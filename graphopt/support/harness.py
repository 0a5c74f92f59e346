"""Put probes to a vendor, in batches in child processes: a crash or a hang is an answer, an interrupt loses nothing.

The journal is the only state. It is a file of JSON lines, one a probe, written by the child the moment the vendor has
answered. After a child's end the first probe of its batch without a line is the one that it died of; the rest of the
batch goes on in a new child. A sweep that is started again on its journal asks only what is not answered yet.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from graphopt.errors import GraphoptError
from graphopt.support.child import ChildError, call
from graphopt.support.infer import Result
from graphopt.support.probe import Probe
from graphopt.support.table import Effect

_WORDS: Final = 300
"""Longest text of a vendor that is kept, in characters."""


class ProberError(GraphoptError):
    """The verdict function itself cannot be used; no probe is to blame."""


def sweep(
    probes: Sequence[Probe],
    prober: str,
    journal: Path,
    *,
    toolchain: str,
    jobs: int = 1,
    limit: float = 60.0,
    batch: int = 40,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Ask a vendor about every probe that the journal does not answer yet.

    Args:
        probes: the questions; their ids are unique.
        prober: "module:function", called in a child as function(model=…, inputs=…, expected=…) with file paths; it
            returns claimed, compiled, ran, numerics, error, realized_as and optionally precision and artifact.
        journal: file of answers, made where it does not exist.
        toolchain: what is measured; answers of another toolchain in the journal do not count.
        jobs: how many children run at the same time.
        limit: seconds that one probe may take before it counts as hung.
        batch: how many probes share a child.
        progress: told how many probes are answered, of how many, after each child.

    Returns:
        The answers in the order of the probes.

    Raises:
        ProberError: the verdict function cannot be imported or raises on every probe of a batch.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    _mend(journal)
    answers = read(journal, toolchain)
    open_ = [probe for probe in probes if answers.get(probe.id, {}).get("digest") != probe.digest]
    groups = [open_[start : start + batch] for start in range(0, len(open_), batch)]
    with tempfile.TemporaryDirectory(prefix="graphopt-probe-") as folder:

        def work(group: Sequence[Probe]) -> None:
            _batch(group, prober, journal, Path(folder), toolchain, limit)
            if progress is not None:
                answered = read(journal, toolchain)
                progress(sum(probe.id in answered for probe in probes), len(probes))

        if jobs == 1:
            for group in groups:
                work(group)
        else:
            with ThreadPoolExecutor(jobs) as pool:
                futures = [pool.submit(work, group) for group in groups]
                try:
                    for future in futures:
                        future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    answers = read(journal, toolchain)
    return [result(probe, answers[probe.id]) for probe in probes if probe.id in answers]


def read(journal: Path, toolchain: str) -> dict[str, dict[str, Any]]:
    """The answers of a journal for one toolchain, by probe id; later lines replace earlier ones."""
    if not journal.exists():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            continue  # the writer was killed in the middle of this line: the probe is asked again
        if answer.get("toolchain") == toolchain:
            found[answer["id"]] = answer
    return found


def result(probe: Probe, answer: Mapping[str, Any]) -> Result:
    """Join a probe and its line in the journal."""
    return Result(
        id=probe.id,
        op_type=probe.op_type,
        domain=probe.domain,
        since=probe.since,
        core=probe.core,
        facts=probe.facts,
        claimed=answer.get("claimed"),
        compiled=answer.get("compiled"),
        ran=answer.get("ran"),
        numerics=answer.get("numerics"),
        effect=effect(answer),
        says=answer.get("error", ""),
        realized_as=tuple(answer.get("realized_as") or ()),
        precision=answer.get("precision", ""),
    )


def effect(answer: Mapping[str, Any]) -> Effect | None:
    """What an answer amounts to; None for a probe that was taken."""
    if answer.get("ended") in ("crash", "hang"):
        return "crash" if answer["ended"] == "crash" else "hang"
    if answer.get("numerics") == "fail":
        return "wrong result"
    if (
        False in (answer.get("claimed"), answer.get("ran"), answer.get("artifact"))
        or answer.get("compiled") is not True
    ):
        return "rejected"
    return None


def _batch(group: Sequence[Probe], prober: str, journal: Path, folder: Path, toolchain: str, limit: float) -> None:
    questions: list[dict[str, Any]] = [
        {"id": probe.id, "digest": probe.digest, "files": probe.write(folder / probe.digest)} for probe in group
    ]
    watchdog = folder / f"{group[0].digest}.watchdog"
    while questions:
        payload = {
            "prober": prober, "questions": questions, "journal": str(journal), "toolchain": toolchain,
            "limit": limit, "watchdog": str(watchdog),
        }  # fmt: skip
        try:
            call("graphopt.support.harness:answer", payload, timeout=60 + limit * len(questions))
            ended, words = "", ""
        except ChildError as error:
            if error.kind == "error":
                raise ProberError(f"the prober {prober} cannot be used: {error}") from None
            hung = error.kind == "timeout" or (watchdog.exists() and watchdog.stat().st_size > 0)
            ended, words = ("hang", f"no answer in {limit:.0f} s") if hung else ("crash", str(error))
        answered = {name: line["digest"] for name, line in read(journal, toolchain).items()}
        left = [item for item in questions if answered.get(item["id"]) != item["digest"]]
        if ended and left:
            _mend(journal)
            _append(journal, {**_head(left[0], toolchain), "ended": ended, "error": words})
            left = left[1:]
        elif not ended and left:
            raise ProberError(f"the prober {prober} ended early without a word, at probe {left[0]['id']}")
        questions = left


def answer(
    prober: str, questions: list[dict[str, Any]], journal: str, toolchain: str, limit: float, watchdog: str
) -> int:
    """In the child: ask each question and write its line; returns how many."""
    barking = Path(watchdog).open("w")  # noqa: SIM115 - open until the process ends
    module, _, name = prober.partition(":")
    verdict = getattr(importlib.import_module(module), name)
    for question in questions:
        # The watchdog lives in a thread of C, so it fires even while the vendor's code holds the interpreter.
        faulthandler.dump_traceback_later(limit, exit=True, file=barking)
        started = time.monotonic()
        try:
            said = dict(verdict(**question["files"]))
        except Exception as error:  # noqa: BLE001 - whatever the vendor's bindings raise is an answer
            said = {"claimed": None, "compiled": False, "error": f"{type(error).__name__}: {error}"}
        said["error"] = re.sub(r"\s+", " ", str(said.get("error") or ""))[:_WORDS]
        seconds = round(time.monotonic() - started, 3)
        faulthandler.cancel_dump_traceback_later()
        _append(Path(journal), {**_head(question, toolchain), **said, "seconds": seconds})
    return len(questions)


def _head(question: Mapping[str, Any], toolchain: str) -> dict[str, Any]:
    return {"id": question["id"], "digest": question["digest"], "toolchain": toolchain}


def _append(journal: Path, line: Mapping[str, Any]) -> None:
    # One write of one line to a file opened for appending, so that several children may share the journal.
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, (json.dumps(line, ensure_ascii=False) + "\n").encode())
    finally:
        os.close(handle)


def _mend(journal: Path) -> None:
    """End a line that a killed writer left open, so that the next one starts on its own."""
    if journal.exists() and (size := journal.stat().st_size):
        with journal.open("rb+") as file:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
