"""Thousands of malformed files against the commands that read one.

    make malformed      or      python benchmarks/malformed [2000] [--seed 0] [--pick 100] [--only TEXT]

Each model is a valid small one with a field of its protobuf tree or some of its bytes changed at random, or one of
those that were written to do harm; and likewise recipes, samples, the configuration. Each goes to a command in a
forked process (`attempt.py`), which must end with 0, 1 or 2, say one line with 2, show no traceback, take at most 10 s
of CPU time and 2 GiB, write nothing outside its output folder, and read nothing outside of the model's. The counts are
printed; the exit code is 1 where one fails, and what failed is kept in bench-out/malformed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from attempt import Outcome, attempt
from bombs import bombs
from documents import Document, documents, harmful_documents
from mutate import broken_bytes, broken_tree
from seeds import models

from graphopt.cli.main import main as graphopt

KEPT = Path(__file__).parents[2] / "bench-out" / "malformed"
SECRET = b"s3cr3t: what the model has no business to read"
COMMANDS = (
    ("inspect", "model.onnx", "--json"),
    ("check", "model.onnx", "-b", "tflite,tensorrt,snpe"),
    ("run", "model.onnx", "-o", "out/"),
    ("run", "model.onnx", "-b", "tflite", "--no-compile", "-o", "out/"),
    ("diff", "model.onnx", "valid.onnx"),
)
_DOCUMENTS = 0.1
"""Share of files that are not models."""


def harmful() -> list[tuple[str, Document]]:
    """What is written to do harm, models with every command."""
    made = [(name, Document("model.onnx", data, words)) for name, data in bombs().items() for words in COMMANDS]
    return [*made, *harmful_documents().items()]


def broken(count: int, seed: int) -> list[tuple[str, Document]]:
    """So many files that are broken at random, each with one command."""
    seeds = models()
    made = documents(int(count * _DOCUMENTS), seed)
    for number in range(count - len(made)):
        random = Random(f"{seed}/{number}")
        name = random.choice(list(seeds))
        if random.random() < 0.7:
            kind, data = "tree", broken_tree(seeds[name], random)
        else:
            kind, data = "bytes", broken_bytes(seeds[name].SerializeToString(), random)
        made.append((f"{name} {kind} {seed}/{number}", Document("model.onnx", data, COMMANDS[number % len(COMMANDS)])))
    return made


def lay_out(folder: Path, case: Document, valid: bytes) -> None:
    """A model's folder with what its external data may and may not name, and the secret outside."""
    folder.mkdir()
    (folder.parent / "secret.bin").write_bytes(SECRET)
    (folder / "config.toml").touch()
    (folder / "valid.onnx").write_bytes(valid)
    (folder / case.file).write_bytes(case.data)
    (folder / "weights.bin").write_bytes(bytes(64))
    (folder / "sub").mkdir()
    (folder / "link.bin").symlink_to("../secret.bin")
    (folder / "linked").symlink_to("..")
    (folder / "loop.bin").symlink_to("loop.bin")
    os.mkfifo(folder / "pipe")


def escaped(folder: Path, before: set[str], outcome: Outcome) -> str:
    """What a command wrote or read where it should not have; empty where nothing."""
    after = {str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*")}
    wrong = sorted(path for path in after - before if not path.startswith((f"{folder.name}/out", f"{folder.name}.")))
    if wrong:
        return f"wrote {wrong[:3]}"
    if outcome.code == 2 and any(path.startswith(f"{folder.name}/out") for path in after):
        return "left an output of a request that was refused"
    told = [outcome.out.encode(), outcome.err.encode(), *(p.read_bytes() for p in (folder / "out").rglob("*.*"))]
    return "told the secret" if any(SECRET[:8] in text for text in told) else ""


def attempted(case: Document, valid: bytes) -> tuple[Outcome, str]:
    """What came of a case, and what is wrong with that."""
    with tempfile.TemporaryDirectory(prefix="malformed-") as top:
        folder = Path(top, "case")
        lay_out(folder, case, valid)
        before = {str(path.relative_to(top)) for path in Path(top).rglob("*")}
        outcome = attempt(graphopt, case.arguments, folder)
        return outcome, outcome.trouble() or escaped(folder, before, outcome)


def main() -> int:
    """Try them; print how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=2000, help="files that are broken at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pick", type=int, help="so many alone, half of them of those written to do harm")
    parser.add_argument("--only", default="", help="files whose name holds this, and say how each ended")
    wanted = parser.parse_args()
    worst, random = harmful(), broken(wanted.count, wanted.seed)
    if wanted.pick is not None:
        worst, random = (Random(wanted.seed).sample(some, wanted.pick // 2) for some in (worst, random))
    cases = [(name, case) for name, case in (*worst, *random) if wanted.only in name]
    os.environ["GRAPHOPT_CONFIG"] = "config.toml"
    for name in ("numpy", "onnx", "onnx_ir", "onnxruntime", "graphopt.api", "graphopt.verify", "graphopt.cli.run"):
        importlib.import_module(name)  # here, once, what every forked process would import again
    valid = models()["network"].SerializeToString()
    ends: Counter[str] = Counter()
    slowest = largest = failures = 0
    for name, case in cases:
        outcome, trouble = attempted(case, valid)
        ends[f"exit code {outcome.code}"] += 1
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.resident)
        if trouble:
            failures += 1
            KEPT.mkdir(parents=True, exist_ok=True)
            (KEPT / f"{name.replace('/', '-')}{Path(case.file).suffix}").write_bytes(case.data)
        if trouble or wanted.only:
            told = (
                trouble or f"{outcome.code} {outcome.seconds:.1f} s {outcome.resident >> 20} MiB {outcome.err.strip()}"
            )
            print(f"{' '.join(case.arguments)}: {name}: {told}", flush=True)
    print(f"{len({name for name, _ in cases})} files, {len(cases)} commands: {dict(sorted(ends.items()))}")
    print(f"at most {slowest:.1f} s of CPU time and {largest >> 20} MiB; {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
