"""The `snpe` backend: Qualcomm's HTP through onnxruntime-qnn."""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.errors import MissingExtraError, ModelError
from graphopt.support.backend import Backend, CompileResult, ExecutionResult, NodeIssue
from graphopt.support.child import ChildError, call, machine_memory
from graphopt_backends.snpe.targets import DEFAULT, WORDS, Soc, by_model, resolve

if TYPE_CHECKING:
    import numpy as np


_DISTRIBUTION = "onnxruntime-qnn"


class SnpeBackend(Backend):
    """Compile to `.dlc` and run by HTP emulation.

    A target is a chip (`soc57`, `sm8650`) or an architecture (`v75`, for QNN's default chip of it). The `.dlc` does not
    depend on the chip (byte-equal for v73 and v75 on PP-OCR). Naming targets checks the model against each and writes
    each one's context binary beside the `.dlc`, as `model.soc57.bin`; without targets the model is checked against
    `targets.DEFAULT` alone.
    """

    name = "snpe"
    title = "Qualcomm SNPE / QNN HTP"
    suffix = ".dlc"
    extra = "snpe"
    targets: ClassVar[Sequence[str]] = WORDS
    # Floats are fp16 on the HTP: PP-OCR's cls, rec and det measure 57, 45 and 46 dB on a page of text.
    roundoff = 2.0**-11
    execution_samples = 1
    tolerance_db = 30.0
    execution = "HTP emulation on x86, fp16"
    prober = "graphopt_backends.snpe.probe:verdict"

    def toolchain(self) -> str | None:
        """As "onnxruntime-qnn 2.7.0"."""
        try:
            return f"{_DISTRIBUTION} {importlib.metadata.version(_DISTRIBUTION)}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Compile for each target in a process of its own; see `Backend.compile`.

        Raises:
            MissingExtraError: onnxruntime-qnn is not installed.
            ModelError: there is no such file.
            UserError: no such target.
        """
        toolchain, started = self._require(model), time.monotonic()
        socs = list(dict.fromkeys(resolve(word) for word in targets)) or [DEFAULT]
        artifact.parent.mkdir(parents=True, exist_ok=True)
        issues: list[NodeIssue] = []
        chips: dict[str, Any] = {}
        content: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix=".graphopt-", dir=artifact.parent) as work:
            for soc in socs:
                folder = Path(work, soc.name)
                folder.mkdir()
                left = timeout - (time.monotonic() - started)
                outcome = _compile_one(model, soc, folder, bool(targets), toolchain, left)
                about = f"{soc.name} ({soc.chip}): " if len(socs) > 1 else ""
                issues += [NodeIssue(i["node"], i["op_type"], about + i["reason"]) for i in outcome["issues"]]
                content = content or outcome.get("dlc", {})
                chips[soc.name] = {"soc_model": soc.model, "chip": soc.chip, "arch": f"v{soc.arch}"} | {
                    key: outcome[key] for key in ("onnx_nodes", "crash") if key in outcome
                }
            detail: dict[str, Any] = {"targets": chips, "soc_model": socs[0].model, "dlc": content}
            if not issues:
                for soc in socs if targets else ():
                    binary = artifact.with_name(f"{artifact.stem}.{soc.name}.bin")
                    Path(work, soc.name, "model.bin").replace(binary)
                    chips[soc.name]["context_binary"] = {"path": str(binary), "bytes": binary.stat().st_size}
                whole = Path(work, socs[0].name, "model.dlc")
                whole.chmod(0o644)  # QNN writes 0640, which a colleague cannot read
                whole.replace(artifact)
        seconds = time.monotonic() - started
        if issues:
            return CompileResult("failed", toolchain, seconds=seconds, issues=tuple(issues), detail=detail)
        return CompileResult("ok", toolchain, artifact, artifact.stat().st_size, seconds, detail=detail)

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Emulate the first target's HTP, in fp16 as the chip computes; see `Backend.execute`.

        Emulation is slow: PP-OCR's detector takes 20 s for one 480×640 image.

        Raises:
            MissingExtraError: onnxruntime-qnn is not installed.
            ModelError: there is no such file.
        """
        import numpy as np

        self._require(model)
        soc = by_model(int(compiled.detail.get("soc_model", DEFAULT.model)))
        runtime = f"HTP emulation, {soc}" + ("" if soc.fp16 else ", floats in fp32 that this chip does not have")
        names = list(dict.fromkeys(name for sample in samples for name in sample))
        with tempfile.TemporaryDirectory(prefix="graphopt-snpe-") as work:
            inputs, outputs = Path(work, "inputs.npz"), Path(work, "outputs.npz")
            arrays = {f"{i}.{names.index(key)}": value for i, one in enumerate(samples) for key, value in one.items()}
            np.savez(inputs, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keywords for allow_pickle
            payload = {
                "model": str(model.absolute()), "soc": soc.model, "inputs": str(inputs), "outputs": str(outputs),
                "names": names, "count": len(samples), "log": str(Path(work, "log")),
            }  # fmt: skip
            try:
                wanted = call(
                    "graphopt_backends.snpe.executor:run_samples", payload, timeout=timeout, memory=machine_memory()
                )
            except ChildError as error:
                what = {"crash": "the HTP emulator crashed: ", "timeout": "the HTP emulator was too slow: "}
                reason = what.get(error.kind, "") + " ".join(str(error).split())
                return ExecutionResult("failed", reason=reason, runtime=runtime)
            with np.load(outputs) as stored:
                results = tuple(
                    {name: stored[f"{sample}.{index}"] for index, name in enumerate(wanted)}
                    for sample in range(len(samples))
                )
        return ExecutionResult("ok", results, runtime=runtime)

    def _require(self, model: Path) -> str:
        toolchain = self.toolchain()
        if toolchain is None:
            raise MissingExtraError(_DISTRIBUTION, self.extra)
        if not model.is_file():
            raise ModelError("there is no such file", file=model)
        return toolchain


def _compile_one(model: Path, soc: Soc, folder: Path, context: bool, toolchain: str, timeout: float) -> dict[str, Any]:
    log = folder / "log"
    payload = {
        "model": str(model.absolute()), "soc": soc.model, "out": str(folder.absolute()), "log": str(log.absolute()),
        "context": context, "toolchain": toolchain,
    }  # fmt: skip
    try:
        result: dict[str, Any] = call(
            "graphopt_backends.snpe.compiler:compile_model", payload, timeout=max(timeout, 0.0), memory=machine_memory()
        )
    except ChildError as error:
        return {"issues": [_blame(error, model, log)], "crash": str(error)}
    return result


def _blame(error: ChildError, model: Path, log: Path) -> dict[str, str]:
    """The issue of a compiler that died or hung, with the node it was working on."""
    import dataclasses

    import onnx

    from graphopt_backends.snpe import diagnose

    if error.kind == "error":
        return {"node": "", "op_type": "", "reason": " ".join(str(error).split())}
    proto = onnx.load(model, load_external_data=False)
    nodes = {node.name or next(iter(node.output), ""): node.op_type for node in proto.graph.node}
    reason = f"QNN {'crashed' if error.kind == 'crash' else 'did not finish'}: {error}"
    return dataclasses.asdict(diagnose.last_node(log, nodes, reason))
