"""The backend `onnxruntime`."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue
from graphopt.support.child import ChildError, call

if TYPE_CHECKING:
    import numpy as np

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_NODE = re.compile(r"(?:Name:|name: |[Nn]ode[: ]+\(?)'?([^'\s()]+)'?")


class OnnxruntimeBackend(Backend):
    """Optimize ahead of time with onnxruntime, for its CPU or CUDA provider.

    The artifact opens without being optimized again; it belongs to this version of onnxruntime, and at level "all" to
    this kind of processor.
    """

    name = "onnxruntime"
    title = "onnxruntime"
    suffix = ".ort"
    extra = "onnxruntime"
    execution = "onnxruntime CPU"
    prober = "graphopt_onnxruntime.probe:verdict"

    @dataclass(frozen=True)
    class Options:
        """Options of the backend: those of an onnxruntime session."""

        provider: Literal["cpu", "cuda"] = "cpu"
        """Where it runs; what CUDA does not take runs on the CPU."""
        level: Literal["none", "basic", "extended", "all"] = "all"
        """Which of onnxruntime's own optimizations are done ahead of time."""
        threads: int = 0
        """Threads of one operator; 0 leaves it to onnxruntime."""

    def toolchain(self) -> str | None:
        """As "onnxruntime 1.31.1"."""
        for name in _DISTRIBUTIONS:
            try:
                return f"{name} {importlib.metadata.version(name)}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Optimize ahead of time in a process of its own, and open the result again; see `Backend.compile`."""
        toolchain, started = str(self.toolchain()), time.monotonic()
        artifact.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".graphopt-", dir=artifact.parent) as work:
            made = Path(work, "model.ort")
            payload = {"model": str(model.absolute()), "out": str(made.absolute()), **self._session(),
                       "level": self.options.level}  # fmt: skip
            try:
                answer = call("graphopt_onnxruntime.worker:compile_model", payload, timeout=timeout)
            except ChildError as error:
                answer = {"refused": f"onnxruntime did not finish: {error}"}
            seconds = time.monotonic() - started
            if answer["refused"]:
                return CompileResult("failed", toolchain, seconds=seconds, issues=(_issue(answer["refused"]),))
            made.replace(artifact)
        size = artifact.stat().st_size
        return CompileResult("ok", toolchain, artifact, size, seconds, detail={"providers": answer["providers"]})

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Run the artifact in a process of its own; see `Backend.execute`."""
        import numpy as np

        runtime = f"onnxruntime {self.options.provider.upper()}"
        with tempfile.TemporaryDirectory(prefix="graphopt-onnxruntime-") as work:
            inputs = [str(Path(work, f"in{index}.npz")) for index in range(len(samples))]
            outputs = [str(Path(work, f"out{index}.npz")) for index in range(len(samples))]
            for path, sample in zip(inputs, samples, strict=True):
                np.savez(path, **sample)  # type: ignore[arg-type]
            payload = {"artifact": str(Path(str(compiled.artifact)).absolute()), "inputs": inputs, "outputs": outputs,
                       **self._session()}  # fmt: skip
            try:
                names = call("graphopt_onnxruntime.worker:run_samples", payload, timeout=timeout)
            except ChildError as error:
                return ExecutionResult("failed", reason=" ".join(str(error).split()), runtime=runtime)
            answers = []
            for path in outputs:
                with np.load(path) as stored:
                    answers.append({name: stored[f"arr_{index}"] for index, name in enumerate(names)})
        return ExecutionResult("ok", tuple(answers), runtime=runtime)

    def _session(self) -> dict[str, Any]:
        return {"provider": self.options.provider, "threads": self.options.threads}


def _issue(words: str) -> NodeIssue:
    """onnxruntime's words, with the node that they name."""
    named = _NODE.search(words)
    return NodeIssue(named[1] if named else "", "", words[:600])
