"""The door for programs: `optimize` and `check`, the same work that the command line does.

    result = graphopt.optimize("model.onnx", backend="tflite", output="out.onnx")
    result.report.status, result.model, result.artifact

No global state, no printing; a model given in memory is left as it is.
"""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import onnx_ir as ir

from graphopt.deploy import deploy, error_record, require
from graphopt.details import detailed
from graphopt.errors import ModelError, UserError
from graphopt.ir import save
from graphopt.ir.edit import FROM_KEY, nodes_of, owners, sources_of
from graphopt.ir.symbolic import MADE_UP
from graphopt.legality import check, support_of
from graphopt.options import changed
from graphopt.pipeline import Context, PassManager, PipelineResult, Recipe, Step, make_backend
from graphopt.pipeline.manager import PASS_TIMEOUT, OnFailure, Verify, no_collection
from graphopt.pipeline.recipe import Step as RecipeStep
from graphopt.pipeline.recipe import parse
from graphopt.report.drawing import Drawing
from graphopt.report.model import (
    Report,
    SupportChange,
    Verification,
)
from graphopt.rewrite import NearMiss
from graphopt.source import Source, file_facts
from graphopt.support.backend import Backend
from graphopt.verify import check_dims, give_values

if TYPE_CHECKING:
    import numpy as np
    import onnx


DEFAULT_RECIPE = """\
[[pass]]
name = "upgrade-ir"

[[pass]]
name = "fix-input-shapes"

[[pass]]
name = "canonicalize"

[[pass]]
name = "simplify-zeros"

[[pass]]
name = "clip-to-relu6"

[[pass]]
name = "long-axis-last"

[[pass]]
name = "fuse-rotary-embedding"

[[pass]]
name = "fuse-attention"

[[pass]]
name = "fuse"

[[pass]]
name = "merge-constants"

[[pass]]
name = "merge-reciprocals"

[[pass]]
name = "merge-reductions"

[[pass]]
name = "sink-transposes"

[[pass]]
name = "sink-reshapes"

[[pass]]
name = "fuse-gemm"

[[pass]]
name = "fuse-matmul-scale"

[[pass]]
name = "canonicalize"
"""
"""What a run without a backend and without a recipe applies."""

_VALUES_PASS = "fix-input-values"

Listener = Callable[[str, int, int], None]
"""Told what begins now, its position, and how many steps there are."""


class Exported(Protocol):
    """What holds a model, as the `ONNXProgram` that `torch.onnx.export` returns."""

    @property
    def model(self) -> ir.Model:
        """The model."""


@dataclass(frozen=True)
class Data:
    """The user's own samples.

    Attributes:
        path: a .npz, a .npy, a folder of them, or a folder of images.
        mean, std, layout: how images become tensors.
    """

    path: Path
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    layout: Literal["nchw", "nhwc"] | None = None


@dataclass(frozen=True)
class Result:
    """What a run made.

    Attributes:
        model: the optimized model.
        report: the record of the run.
        artifact: the compiled file, None where nothing was compiled or the compiler refused.
        misses: where explained rules did not fire, with the pass they belong to.
        drawing: both graphs for the page, where `optimize` was asked for details.
    """

    model: ir.Model
    report: Report
    artifact: Path | None = None
    misses: tuple[tuple[str, NearMiss], ...] = ()
    drawing: Drawing | None = None


@no_collection()
def optimize(
    model: str | Path | bytes | onnx.ModelProto | ir.Model | Exported,
    *,
    backend: str | Backend | None = None,
    recipe: Recipe | str | None = None,
    dims: Mapping[str, int | tuple[int, ...]] | None = None,
    values: Mapping[str, Any] | None = None,
    calibration: Data | None = None,
    samples: int = 4,
    verify: Verify = "final",
    on_failure: OnFailure = "continue",
    compile: bool = True,
    targets: Sequence[str] = (),
    output: str | Path | None = None,
    artifact: str | Path | None = None,
    explain: Sequence[str] = (),
    timeout: float = 600.0,
    pass_timeout: float = PASS_TIMEOUT,
    on_progress: Listener | None = None,
    hashes: bool = True,
    details: bool = False,
) -> Result:
    """Run a model through a recipe, check it against a backend, compile it there, and compare the outputs.

    Args:
        model: a path, the bytes of a file, or a model in memory, which is not changed; also what `torch.onnx.export`
            returns.
        backend: where it goes, by name or as "name:option=value"; None applies the backend-neutral pipeline and
            compiles nothing. Its own options win over those of a recipe.
        recipe: what to apply, a `Recipe` or its TOML text; the backend's own recipe, or the default one, where None.
        dims: sizes of dynamic dimensions by name, or whole shapes by input name.
        values: of inputs that become constants, by name: a number, a list, an array, or text as "16000" and "0,1".
        calibration: the user's samples, for verification and for passes that need statistics.
        samples: how many inputs to compare on.
        verify: see `graphopt.pipeline.PassManager`.
        on_failure: go on without a pass that failed, or stop there.
        compile: whether to call the vendor's compiler (which needs its package).
        targets: chips to compile for; the backend's default where empty.
        output: the .onnx file to write, None to write none.
        artifact: the compiled file to write; beside `output` where None.
        explain: names of rules to record near misses of.
        timeout: seconds that the vendor's compiler, and then its runtime, may take.
        pass_timeout: seconds that one pass of a plugin may take; graphopt's own passes have no limit.
        on_progress: told what begins.
        hashes: whether the report holds the SHA-256 of the files, which takes a second for each gigabyte.
        details: whether to gather what the page shows besides: both graphs, the work of one inference, and each
            layer's error where passes were lossy.

    Raises:
        UserError: the model, the recipe, the data or another argument is wrong.
        PluginError: the backend cannot be imported; a pass that cannot be is only left out, and the report says so.
    """
    start = time.perf_counter()
    dims = dict(dims or {})
    tell = on_progress or (lambda name, position, count: None)
    target = make_backend(backend) if isinstance(backend, str) else backend
    source = Source(model)
    chosen = _at_values(_recipe(recipe, target), values or {})
    if target is not None:
        if chosen.backend:
            target = type(target)(**{**chosen.backend, **changed(target.options)})
        chosen = replace(chosen, backend=changed(target.options))
    steps = [Step(one, origin) for one, origin in chosen.build()]
    _check_targets(target, targets)
    if target is not None and compile:
        require(target)
    first = source.fresh()
    check_dims(first, dims)
    facts = source.facts(first, hashes)
    before = support_of(first, target, dims)
    settled: dict[str, Any] = {}
    for step in steps:
        settled = {**step.one.input_values, **settled}  # the first that takes an input leaves none to take
    give_values(first, settled, dims)

    def original() -> ir.Model:
        model = source.fresh()
        give_values(model, settled, dims)
        return model

    executes = verify != "off" or (target is not None and compile)
    given = _samples(first, dims, calibration, samples, settled) if executes or calibration is not None else []
    stages = len(steps) + 2

    manager = PassManager(
        steps, verify=verify, on_failure=on_failure, samples=lambda: given, pass_timeout=pass_timeout,
        listener=lambda name, position, _: tell(name, position, stages),
    )  # fmt: skip
    context = Context(
        backend=target, dims=dims, explain=frozenset(explain),
        calibration=None if calibration is None else lambda: _iterate(calibration, original(), dims, settled),
    )  # fmt: skip
    ready = [first]
    piped = manager.run(lambda: ready.pop() if ready else original(), context)
    final = _finish(piped.model)
    report = Report(
        backend=target.name if target is not None else None, status="ok", input=facts, output=None,
        passes=tuple(piped.records), recipe=chosen.to_toml(),
        verification=_verification(piped, "generated" if calibration is None else "file", len(given)),
    )  # fmt: skip
    after = support_of(final, target, {}, piped.advice)
    if before is not None and after is not None:
        report = replace(report, support=SupportChange(before=before[0], after=after[0]), partition=after[1])

    with tempfile.TemporaryDirectory(prefix="graphopt-") as scratch:
        path = Path(output) if output is not None else Path(scratch, "model.onnx")
        tell("write", len(steps), stages)
        save(final, path, tell=lambda done, size: tell(f"write {done / size:.0%}", len(steps), stages))
        report = replace(report, output=file_facts(final, path, str(output or ""), hashes))
        if target is not None and compile:
            tell(f"compile for {target.name}", len(steps) + 1, stages)
            place = Path(artifact) if artifact is not None else path.with_suffix(target.suffix)
            compiled = deploy(
                target, path, place, original=original, samples=given, targets=targets, timeout=timeout,
                lossy=any(r.outcome == "applied" and r.fidelity == "lossy" for r in piped.records),
            )  # fmt: skip
            report = replace(report, compile=compiled)
    drawing = None
    if details:
        report, drawing = detailed(report, original(), final, given)
    report = replace(
        report, provenance=_provenance(final), seconds=time.perf_counter() - start,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip
    kept = report.compile.artifact is not None and (output is not None or artifact is not None)
    made = Path(report.compile.artifact or "") if kept else None
    return Result(final, _judge(report, piped), made, tuple(piped.misses), drawing)


def _recipe(recipe: Recipe | str | None, target: Backend | None) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if recipe is not None:
        return parse(recipe)
    return parse(DEFAULT_RECIPE if target is None else target.recipe()).at_home("graphopt")


def _at_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the inputs of these values made constants first."""
    if not values:
        return recipe
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in values.items()}
    step = RecipeStep(_VALUES_PASS, {"values": plain})
    return replace(recipe, steps=(step, *recipe.steps))


def default_recipe(backend: Backend | None) -> Recipe:
    """The recipe that a run without one applies."""
    return _recipe(None, backend)


def _check_targets(target: Backend | None, targets: Sequence[str]) -> None:
    for one in targets:
        if target is None or not target.targets:
            raise UserError(f"--target {one}: {target.name if target else 'a run without -b'} has no targets to choose")
        if one not in target.targets:
            raise UserError(f"--target {one}: {target.name} compiles for {', '.join(target.targets)}")


def _iterate(
    data: Data, model: ir.Model, dims: Mapping[str, int | tuple[int, ...]], settled: Mapping[str, Any]
) -> Iterator[Mapping[str, np.ndarray]]:
    """The user's samples, without the inputs whose value is settled."""
    from graphopt.verify import iterate

    for sample in iterate(data.path, model, dims=dims, mean=data.mean, std=data.std, layout=data.layout):
        for name in settled:
            kept = model.graph.initializers[name].const_value
            if name in sample and kept is not None and kept.numpy().tolist() != sample[name].tolist():
                raise UserError(
                    f"{data.path} has another {name!r} than the run is to have: leave it out of the samples"
                )
        yield {name: array for name, array in sample.items() if name not in settled}


def _samples(
    model: ir.Model,
    dims: Mapping[str, int | tuple[int, ...]],
    data: Data | None,
    count: int,
    settled: Mapping[str, Any],
) -> list[Mapping[str, np.ndarray]]:
    if data is not None:
        return list(itertools.islice(_iterate(data, model, dims, settled), count))
    if not count:
        return []
    from graphopt.verify import generate

    return list(generate(model, dims=dims, samples=count))


def _finish(model: ir.Model) -> ir.Model:
    """Names that inference made up for dimensions mean nothing to anybody else."""
    for owner in owners(model):
        for node in nodes_of(owner):
            for value in node.outputs:
                if value.shape is not None and any(_made_up(dim) for dim in value.shape):
                    value.shape = ir.Shape([None if _made_up(dim) else dim for dim in value.shape])
    return model


def _made_up(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and dim.value is not None and MADE_UP in dim.value


def _verification(piped: PipelineResult, inputs: Literal["generated", "file"], samples: int) -> Verification:
    verdict = piped.verification
    return Verification(
        status=verdict.status, inputs=inputs, samples=verdict.samples,
        outputs=tuple(error_record(e) for e in verdict.errors), detail=verdict.reason,
    )  # fmt: skip


def _provenance(model: ir.Model) -> dict[str, tuple[str, ...]]:
    found = {}
    for owner in owners(model):
        for node in nodes_of(owner):
            if FROM_KEY in node.metadata_props and node.name:
                found[node.name] = tuple(sources_of(node))
    return found


def _judge(report: Report, piped: PipelineResult) -> Report:
    """The answer of the run: the compiler's word where it was asked, else the table's; and the numbers."""
    if piped.stopped is not None:
        record = next(r for r in piped.records if r.name == piped.stopped and r.outcome in ("failed", "rolled_back"))
        return replace(report, status="failed", reason=f"stopped at {record.name}: {record.detail}")
    if report.verification.status == "failed":
        return replace(report, status="rejected", reason=f"verification failed: {report.verification.detail}")
    if report.compile.status == "failed":
        first = report.compile.issues[0].reason if report.compile.issues else "no reason given"
        return replace(report, status="rejected", reason=f"{report.compile.toolchain} refuses the model: {first}")
    if report.compile.execution.status == "failed":
        reason = f"the compiled model does not agree with the original: {report.compile.execution.reason}"
        return replace(report, status="rejected", reason=reason)
    after = report.support.after if report.support is not None else None
    if after is not None and after.supported < after.nodes:
        missing = after.nodes - after.supported
        if report.compile.status == "ok":
            note = (
                f"the table says no of {missing} nodes that {report.compile.toolchain} took: `graphopt probe` measures"
            )
            return replace(report, notes=(*report.notes, note))
        return replace(
            report,
            status="rejected",
            reason=f"{missing} {'node is' if missing == 1 else 'nodes are'} not supported by {report.backend}",
        )
    return report


__all__ = ["DEFAULT_RECIPE", "Data", "ModelError", "Result", "check", "default_recipe", "optimize"]
