"""Put probes to a vendor, in batches in child processes: a crash or a hang is an answer, an interrupt loses nothing.

The journal is the only state. It is a file of JSON lines, one a probe, written by the child the moment the vendor has
answered. After a child's end the first probe of its batch without a line is the one that it died of: it is asked once
more, alone and with more time, and what happens then is its answer. The rest of the batch goes on in a new child. A
sweep that is started again on its journal asks only what is not answered yet.
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import importlib.util
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
_PATIENCE: Final = 4
"""How many times the limit a probe that hung gets when it is asked once more, alone."""


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
    batch: int = 200,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Ask a vendor about every probe that the journal does not answer yet.

    Args:
        probes: the questions; their ids are unique.
        prober: "module:function", called in a child as function(model=…, inputs=…, expected=…) with file paths; it
            returns claimed, compiled, ran, numerics, error, realized_as and optionally precision and artifact.
        journal: file of answers, made where it does not exist.
        toolchain: what is measured; answers of another toolchain in the journal do not count, and none that was given
            before the prober's own package changed.
        jobs: how many children run at the same time.
        limit: seconds that one probe may take. One that takes longer is asked again, alone and with four times the
            limit, before it counts as hung: the answer must not depend on what else the machine does.
        batch: how many probes share a child.
        progress: told how many probes are answered, of how many, after each child.

    Returns:
        The answers in the order of the probes.

    Raises:
        ProberError: the verdict function cannot be imported or raises on every probe of a batch.
    """
    journal = journal.resolve()  # the children work elsewhere
    journal.parent.mkdir(parents=True, exist_ok=True)
    _mend(journal)
    package = source(prober)
    keys = {probe.id: f"{probe.digest}-{package}" for probe in probes}

    def answered() -> dict[str, dict[str, Any]]:
        return {name: line for name, line in read(journal, toolchain).items() if line["digest"] == keys.get(name)}

    known = answered()
    open_ = [probe for probe in probes if probe.id not in known]
    groups = [open_[start : start + batch] for start in range(0, len(open_), batch)]
    with tempfile.TemporaryDirectory(prefix="graphopt-probe-") as folder:

        def work(group: Sequence[Probe]) -> None:
            _batch(group, keys, prober, journal, Path(folder), toolchain, limit)
            if progress is not None:
                progress(len(answered()), len(probes))

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
    answers = answered()
    return [result(probe, answers[probe.id]) for probe in probes if probe.id in answers]


def source(prober: str) -> str:
    """A digest of the code that gives the verdicts: every Python file of the package that the function is in.

    Args:
        prober: "module:function".

    Raises:
        ProberError: there is no such module.
    """
    name = prober.partition(":")[0]
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ProberError(f"the prober {prober} cannot be used: there is no module {name}")
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if "." in name else [origin]
    state = hashlib.sha256()
    for file in files:
        state.update(str(file.relative_to(origin.parent)).encode() + file.read_bytes())
    return state.hexdigest()[:12]


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


def _batch(
    group: Sequence[Probe],
    keys: Mapping[str, str],
    prober: str,
    journal: Path,
    folder: Path,
    toolchain: str,
    limit: float,
) -> None:
    questions: list[dict[str, Any]] = [
        {"id": probe.id, "digest": keys[probe.id], "files": probe.write(folder / probe.digest)} for probe in group
    ]
    payload = {
        "prober": prober, "journal": str(journal), "toolchain": toolchain,
        "watchdog": str(folder / f"{group[0].digest}.watchdog"),
    }  # fmt: skip
    while questions:
        ended, _, left = _ask(payload, questions, limit)
        if ended and left:
            # once more and alone: what it died of may have been the probes before it, or a busy machine
            ended, words, unanswered = _ask(payload, left[:1], _PATIENCE * limit)
            if unanswered:
                _append(journal, {**_head(left[0], toolchain), "ended": ended, "error": words})
            left = left[1:]
        questions = left


def _ask(
    payload: Mapping[str, Any], questions: list[dict[str, Any]], limit: float
) -> tuple[str, str, list[dict[str, Any]]]:
    """Ask in one child; how it ended ("" for well, "crash" or "hang"), its last words, the questions that it left."""
    prober, journal, watchdog = payload["prober"], Path(payload["journal"]), Path(payload["watchdog"])
    more = {"questions": questions, "limit": limit}
    ended, words = "", ""
    try:
        call("graphopt.support.harness:answer", {**payload, **more}, timeout=60 + limit * len(questions))
    except ChildError as error:
        if error.kind == "error":
            raise ProberError(f"the prober {prober} cannot be used: {error}") from None
        hung = error.kind == "timeout" or (watchdog.exists() and watchdog.stat().st_size > 0)
        ended, words = ("hang", f"no answer in {limit:.0f} s") if hung else ("crash", str(error))
        _mend(journal)
    answered = {name: line["digest"] for name, line in read(journal, payload["toolchain"]).items()}
    left = [item for item in questions if answered.get(item["id"]) != item["digest"]]
    if left and not ended:
        raise ProberError(f"the prober {prober} ended early without a word, at probe {left[0]['id']}")
    return ended, words, left


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
