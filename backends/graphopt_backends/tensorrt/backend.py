"""The `tensorrt` backend: TensorRT-RTX, built ahead of time."""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.errors import MissingExtraError, ModelError, UserError
from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue
from graphopt.support.child import ChildError, call, machine_memory
from graphopt_backends.tensorrt.executor import gpu, why_not

if TYPE_CHECKING:
    import numpy as np


_DISTRIBUTION = "tensorrt-rtx-cu12-bindings"
_TITLE = "tensorrt-rtx"
# Turing (sm75) is on request only: TensorRT-RTX 1.7 refuses every fp32 matrix product there.
_DEFAULT = ("sm80", "sm86", "sm89", "sm120")


class TensorRTBackend(Backend):
    """Compile to one `.engine` for several GPU generations.

    A target is a compute capability: sm75 Turing, sm80 and sm86 Ampere, sm89 Ada, sm120 and sm121 Blackwell. The engine
    holds all that are asked for; without targets, every generation that takes fp32 (further targets cost neither size
    nor time to speak of). A dynamic input gets an optimization profile: its first dimension from 1 to 16, tuned for 1;
    every other from 1 to 2048, tuned for 256. Fix the dimensions with `--dim` where another size matters. "ok" means
    the ahead-of-time phase: the GPU's driver finishes the kernels when it loads the engine.
    """

    name = "tensorrt"
    title = "NVIDIA TensorRT-RTX"
    suffix = ".engine"
    extra = "tensorrt"
    targets: ClassVar[Sequence[str]] = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
    execution = "compiled ahead of time, not executed"
    prober = "graphopt_backends.tensorrt.probe:verdict"

    def toolchain(self) -> str | None:
        """As "tensorrt-rtx 1.7.1.116"."""
        try:
            return f"{_TITLE} {importlib.metadata.version(_DISTRIBUTION)}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Build one engine for all targets; see `Backend.compile`.

        Raises:
            MissingExtraError: TensorRT-RTX is not installed.
            ModelError: there is no such file.
            UserError: no such target.
        """
        toolchain = self.toolchain()
        if toolchain is None:
            raise MissingExtraError("TensorRT-RTX", self.extra)
        if not model.is_file():
            raise ModelError("there is no such file", file=model)
        chosen = list(dict.fromkeys(word.lower() for word in targets)) or list(_DEFAULT)
        for word in chosen:
            if word not in self.targets:
                raise UserError(f"tensorrt has no target {word!r}: choose from {', '.join(self.targets)}")
        artifact.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=".graphopt-", dir=artifact.parent) as work:
            engine = Path(work, "engine")
            payload = {"model": str(model.absolute()), "out": str(engine.absolute()), "targets": chosen}
            outcome = _build(payload, timeout)
            seconds = time.monotonic() - started
            issues = tuple(NodeIssue(**issue) for issue in outcome.pop("issues"))
            detail = {"targets": chosen, "phase": "ahead of time", **outcome}
            if issues:
                return CompileResult("failed", toolchain, seconds=seconds, issues=issues, detail=detail)
            engine.replace(artifact)
        return CompileResult("ok", toolchain, artifact, artifact.stat().st_size, seconds, detail=detail)

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Say why the engine is not run here; see `Backend.execute`."""
        return ExecutionResult("unavailable", reason=why_not(gpu()), runtime="TensorRT-RTX")


def _build(payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    try:
        result: dict[str, Any] = call(
            "graphopt_backends.tensorrt.compiler:compile_model", payload, timeout=timeout, memory=_memory()
        )
    except ChildError as error:
        what = {"crash": "TensorRT crashed: ", "timeout": "TensorRT did not finish: "}.get(error.kind, "")
        issue = {"node": "", "op_type": "", "reason": what + " ".join(str(error).split())}
        return {"issues": [issue], "crash": str(error)}
    return result


def _memory() -> int | None:
    # CUDA maps terabytes of address space, so with a GPU there is no such limit.
    return None if gpu() else machine_memory()
