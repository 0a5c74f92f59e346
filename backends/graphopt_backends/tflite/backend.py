"""The backend `tflite`: LiteRT flatbuffers, compiled and executed in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from graphopt.errors import MissingExtraError
from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue
from graphopt.support.child import ChildError, call, machine_memory
from graphopt_backends.tflite.settings import Options

if TYPE_CHECKING:
    import numpy as np


class TFLiteBackend(Backend):
    """TensorFlow Lite's format for the LiteRT runtime, written without TensorFlow."""

    name: ClassVar[str] = "tflite"
    title: ClassVar[str] = "TensorFlow Lite (LiteRT)"
    suffix: ClassVar[str] = ".tflite"
    extra: ClassVar[str] = "tflite"
    execution = "LiteRT CPU"
    prober: ClassVar[str] = "graphopt_backends.tflite.probe:verdict"
    runner: ClassVar[str] = "graphopt_backends.tflite.timing:open_model"
    Options: ClassVar[type] = Options

    def toolchain(self) -> str | None:
        """ "ai-edge-litert VERSION", None where it is not installed."""
        try:
            return f"ai-edge-litert {metadata.version('ai-edge-litert')}"
        except metadata.PackageNotFoundError:
            return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Write `artifact`; see `Backend.compile`. There are no targets: LiteRT's files run everywhere."""
        toolchain, start = self._installed(), time.perf_counter()
        payload = {
            "model": str(model.resolve()),
            "artifact": str(artifact.resolve()),
            "options": asdict(self.options),
        }
        try:
            answer = call(
                "graphopt_backends.tflite.compiler:compile_model", payload, timeout=timeout, memory=machine_memory()
            )
        except ChildError as error:
            issue = NodeIssue("", "", _one_line(error))
            detail = {"kind": error.kind, "log": error.log}
            return CompileResult("failed", toolchain, None, 0, time.perf_counter() - start, (issue,), detail)
        seconds, issues = time.perf_counter() - start, tuple(NodeIssue(**issue) for issue in answer["issues"])
        if not answer["ok"]:
            return CompileResult("failed", toolchain, None, 0, seconds, issues, answer["detail"])
        return CompileResult("ok", toolchain, artifact, artifact.stat().st_size, seconds, issues, answer["detail"])

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Run the artifact in LiteRT on the CPU; see `Backend.execute`."""
        import tempfile

        from graphopt_backends.tflite import samples as files

        self._installed()
        if compiled.artifact is None:
            return ExecutionResult("failed", reason="the model was not compiled")
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            inputs, outputs = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
            files.save(inputs, samples)
            payload = {
                "artifact": str(compiled.artifact.resolve()),
                "inputs_npz": str(inputs),
                "outputs_npz": str(outputs),
                "stored_axes": compiled.detail.get("stored_axes", {}),
            }
            try:
                answer = call(
                    "graphopt_backends.tflite.executor:run_model", payload, timeout=timeout, memory=machine_memory()
                )
            except ChildError as error:
                return ExecutionResult("failed", reason=_one_line(error), runtime="LiteRT CPU")
            runtime = f"LiteRT CPU, XNNPACK took {answer['xnnpack']} of {answer['operators']} operators"
            return ExecutionResult("ok", tuple(files.load(outputs)), runtime=runtime)

    def _installed(self) -> str:
        toolchain = self.toolchain()
        if toolchain is None:
            raise MissingExtraError("ai-edge-litert", self.extra)
        return toolchain


def _one_line(error: ChildError) -> str:
    lines = [str(error), *(line for line in error.log.splitlines() if "ERROR" in line)]
    return " ".join(" ".join(lines).split())
