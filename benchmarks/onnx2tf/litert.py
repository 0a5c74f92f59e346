"""What .tflite files of one model compute and take in LiteRT: python litert.py ORIGINAL SAMPLES ROUNDS FILE…

With benchmarks/corpus on PYTHONPATH, for the inputs. One line of JSON: for each file its operators, how many of them
are Transposes, the SQNR of the worst output against onnxruntime, the largest error as a share of an output's range, and
milliseconds on one thread, the median of rounds in which the files take turns. Inputs and outputs are found by name,
else by shape; a file may have its images in the other order of axes.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from samples import inputs_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "peers"))

from outputs import outputs  # noqa: E402


def order(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The permutation that takes an array of one shape to the other, channels moved last or first before others."""
    rank = len(shape)
    first = [tuple(range(rank)), (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))] if rank > 2 else []
    for perm in (*first, *itertools.permutations(range(rank))):
        if tuple(shape[axis] for axis in perm) == wanted:
            return perm
    return None


def plain(name: str) -> str:
    """A name without what converters add or cannot write."""
    bare = name.removeprefix("serving_default_").removesuffix(":0")
    return "".join(c if c.isalnum() else "_" for c in bare).strip("_")


class File:
    """A .tflite file, ready to run."""

    def __init__(self, path: Path) -> None:
        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.times: list[float] = []

    def operators(self) -> list[str]:
        """Names of its operators."""
        found = (one["op_name"] for one in self.interpreter._get_ops_details())
        return [name for name in found if name != "DELEGATE"]

    def feed(self, sample: dict[str, np.ndarray]) -> None:
        """Set the inputs."""
        left = dict(sample)
        for detail in self.interpreter.get_input_details():
            shape = tuple(int(d) for d in detail["shape"])
            by_name = [name for name in left if plain(name) == plain(detail["name"])]
            by_shape = [name for name, array in left.items() if order(array.shape, shape) is not None]
            name = next(iter(by_name or by_shape))
            array = left.pop(name)
            perm = order(array.shape, shape)
            if perm is None:
                raise ValueError(f"input {name} has shape {array.shape} and the file wants {shape}")
            self.interpreter.set_tensor(detail["index"], np.asarray(array.transpose(perm), detail["dtype"], order="C"))

    def run(self) -> None:
        """Run, and keep how long it took."""
        start = time.perf_counter()
        self.interpreter.invoke()
        self.times.append(1000 * (time.perf_counter() - start))

    def answers(self) -> list[tuple[str, np.ndarray]]:
        """Outputs with their names."""
        details = self.interpreter.get_output_details()
        return [(detail["name"], self.interpreter.get_tensor(detail["index"])) for detail in details]


def error(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """SQNR in dB, and the largest error as a share of the range; the best over orders of axes that fit."""
    a = expected.astype(np.float64)
    best = (-np.inf, np.inf)
    for perm in itertools.permutations(range(found.ndim)):
        if tuple(found.shape[axis] for axis in perm) == a.shape:
            b = found.transpose(perm).astype(np.float64)
            noise, signal = float(((a - b) ** 2).sum()), float((a**2).sum())
            sqnr = 10 * np.log10(signal / noise) if noise and signal else (np.inf if not noise else -np.inf)
            span = float(a.max() - a.min()) or 1.0
            best = max(best, (float(sqnr), -float(np.abs(a - b).max()) / span))
    return best[0], abs(best[1])


def judge(expected: dict[str, np.ndarray], found: list[tuple[str, np.ndarray]]) -> tuple[float, float]:
    """The worst output."""
    worst = (np.inf, 0.0)
    for name, array in expected.items():
        same = [value for other, value in found if plain(other) == plain(name) and value.size == array.size]
        tried = [error(array, value) for value in same or [v for _, v in found if v.size == array.size]]
        one = max(tried, default=(-np.inf, np.inf))
        worst = (min(worst[0], one[0]), max(worst[1], one[1]))
    return worst


def main() -> None:
    """Print what was found as JSON."""
    original, count, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    samples = [inputs_of(original, index) for index in range(count)]
    expected = outputs(original, samples)
    answers: dict[str, dict[str, Any]] = {}
    files: dict[str, File] = {}
    for path in sys.argv[4:]:
        try:
            files[path] = File(Path(path))
            worst = (np.inf, 0.0)
            for sample, wanted in zip(samples, expected, strict=True):
                files[path].feed(sample)
                files[path].run()
                one = judge(wanted, files[path].answers())
                worst = (min(worst[0], one[0]), max(worst[1], one[1]))
        except (RuntimeError, ValueError, StopIteration) as failure:
            answers[path] = {"error": str(failure).splitlines()[0][:200]}
            files.pop(path, None)
            continue
        names = files[path].operators()
        answers[path] = {
            "operators": len(names), "transposes": names.count("TRANSPOSE"), "sqnr_db": min(worst[0], 999.0),
            "worst": min(worst[1], 1e9),
        }  # fmt: skip
    for file in files.values():
        file.times.clear()
    for _ in range(rounds):
        for file in files.values():
            file.run()
    for path, file in files.items():
        answers[path]["milliseconds"] = statistics.median(file.times)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
