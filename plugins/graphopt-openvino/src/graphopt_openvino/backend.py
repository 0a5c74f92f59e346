"""The backend `openvino`."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue
from graphopt.support.child import ChildError, call

if TYPE_CHECKING:
    import numpy as np

_NODE = re.compile(r"(?:Node|node|name:?) ['\"]?([^'\" ,()]+)")


class OpenVINOBackend(Backend):
    """Compile to OpenVINO's IR, `model.xml` with `model.bin`, and run it on the CPU."""

    name = "openvino"
    title = "Intel OpenVINO"
    suffix = ".xml"
    extra = "openvino"
    execution = "OpenVINO CPU, float32"
    prober = "graphopt_openvino.probe:verdict"

    @dataclass(frozen=True)
    class Options:
        """Options of the backend."""

        device: str = "CPU"
        """What compiles and runs: CPU, GPU, NPU, or AUTO."""
        half_weights: bool = False
        """Store weights as float16, which halves the file and rounds them."""
        blob: bool = False
        """Write what the device made of the model as well, model.blob: it loads at once, on that device only."""

    def toolchain(self) -> str | None:
        """As "openvino 2026.4.1"."""
        try:
            return f"openvino {importlib.metadata.version('openvino')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Convert and compile in a process of its own; see `Backend.compile`."""
        toolchain, started = str(self.toolchain()), time.monotonic()
        artifact.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".graphopt-", dir=artifact.parent) as work:
            made = Path(work, artifact.name).with_suffix(".xml")
            payload = {
                "model": str(model.absolute()), "out": str(made.absolute()), "device": self.options.device,
                "half": self.options.half_weights, "blob": self.options.blob,
            }  # fmt: skip
            try:
                answer = call("graphopt_openvino.compiler:compile_model", payload, timeout=timeout)
            except ChildError as error:
                answer = {"refused": f"OpenVINO did not finish: {error}"}
            seconds = time.monotonic() - started
            if answer["refused"]:
                return CompileResult("failed", toolchain, seconds=seconds, issues=(_issue(answer["refused"]),))
            files = sorted(Path(work).iterdir())
            for file in files:
                file.replace(artifact.with_suffix(file.suffix))  # .bin and .blob before .xml, which refers to them
        made = artifact.with_suffix(".xml")
        size = sum(made.with_suffix(file.suffix).stat().st_size for file in files)
        return CompileResult("ok", toolchain, made, size, seconds, detail={"operators": answer["operators"]})

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Run the IR in a process of its own; see `Backend.execute`."""
        import numpy as np
        import onnx

        names = [output.name for output in onnx.load(model, load_external_data=False).graph.output]
        with tempfile.TemporaryDirectory(prefix="graphopt-openvino-") as work:
            inputs = [str(Path(work, f"in{index}.npz")) for index in range(len(samples))]
            outputs = [str(Path(work, f"out{index}.npz")) for index in range(len(samples))]
            for path, sample in zip(inputs, samples, strict=True):
                np.savez(path, **sample)  # type: ignore[arg-type]
            payload = {
                "artifact": str(Path(str(compiled.artifact)).absolute()), "device": self.options.device,
                "names": names, "inputs": inputs, "outputs": outputs,
            }  # fmt: skip
            try:
                runtime = call("graphopt_openvino.compiler:run_samples", payload, timeout=timeout)
            except ChildError as error:
                return ExecutionResult("failed", reason=" ".join(str(error).split()), runtime="OpenVINO")
            answers = []
            for path in outputs:
                with np.load(path) as stored:
                    answers.append({name: stored[f"arr_{index}"] for index, name in enumerate(names)})
        return ExecutionResult("ok", tuple(answers), runtime=f"OpenVINO {self.options.device}, {runtime}")


def _issue(words: str) -> NodeIssue:
    """OpenVINO's words, with the node that they name."""
    named = _NODE.search(words)
    return NodeIssue(named[1] if named else "", "", words[:600])
