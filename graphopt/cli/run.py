"""`graphopt run`: rewrite, check, compile, compare, report."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from graphopt.cli import options
from graphopt.errors import UserError

if TYPE_CHECKING:
    from graphopt.api import Result
    from graphopt.pipeline.recipe import Recipe
    from graphopt.report.model import Report
    from graphopt.support.backend import Backend

_OPSET_PASS = "convert-opset"
_MODEL_SUFFIXES = (".onnx", ".pb")
"""What makes of an output a file; any other path is a folder, dots in its name or not."""
_BEFORE_OPSET = ("fix-input-values", "upgrade-ir", "fix-input-shapes")


@click.command("run")
@options.model_argument("model")
@options.backends(required=False)
@click.option(
    "-o", "--output", metavar="PATH", type=options.File(),
    help="A folder (receives model.onnx, the compiled file, report.json, report.html; one folder NAME inside for each "
    "of several backends), a file x.onnx (the model alone), or - for standard output.",
)  # fmt: skip
@click.option("-r", "--recipe", metavar="FILE", type=options.File(), help="A TOML recipe instead of the backend's own.")
@click.option(
    "-p", "--pass", "passes", multiple=True, metavar="NAME[:KEY=VALUE,…]", type=options.PassName(),
    help="A pass to run after the recipe's; several times.",
)  # fmt: skip
@click.option("--only", is_flag=True, help="Run the passes of -p alone, without a recipe.")
@click.option(
    "--opset", type=int, metavar="N",
    help="Bring the model to version N of ONNX's operators first, so that the passes know which there are; refused, "
    "with the nodes named, where that would change what it computes.",
)  # fmt: skip
@options.dims
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="Make an input a constant (sr=16000, pads=0,1,1,0): it leaves the signature, and what it decides, as the "
    "branch of an If, is decided now. Several times.",
)  # fmt: skip
@options.calibration
@options.images
@click.option("--samples", default=4, show_default=True, type=click.IntRange(0), help="Inputs to compare on.")
@click.option(
    "--verify", type=click.Choice(["off", "final", "each"]), default="final", show_default=True,
    help="Compare the outputs with the original's: not, at the end (a pass that changed them is found and taken back), "
    "or after every pass.",
)  # fmt: skip
@click.option(
    "--on-failure", type=click.Choice(["continue", "stop"]), default="continue", show_default=True,
    help="What to do when a pass fails or is taken back.",
)  # fmt: skip
@click.option(
    "--compile/--no-compile", "compiles", default=True, help="Call the vendor's compiler.  [default: compile]"
)
@options.targets
@options.io_layout
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for the vendor's compiler, and its runtime.")
@click.option("--pass-timeout", default=600.0, show_default=True, help="Seconds for one pass of a plugin.")
@click.option("--explain", multiple=True, metavar="RULE", help="Say where a rule did not fire, and why.")
@options.json_output
@options.quiet
def command(
    model: str,
    backends: tuple[tuple[str, ...], ...],
    output: str | None,
    recipe: str | None,
    passes: tuple[str, ...],
    only: bool,
    opset: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    calibration: str | None,
    mean: str | None,
    std: str | None,
    layout: Literal["nchw", "nhwc"] | None,
    samples: int,
    verify: Literal["off", "final", "each"],
    on_failure: Literal["continue", "stop"],
    compiles: bool,
    targets: tuple[tuple[str, ...], ...],
    io_layout: str | None,
    timeout: float,
    pass_timeout: float,
    explain: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Rewrite MODEL, check it against a backend, compile it there, and say what it cost.

    Without -b the backend-neutral passes are applied and an ONNX model is written. MODEL may be - for standard input.

    \b
      graphopt run model.onnx -o smaller.onnx
      graphopt run model.onnx -b tflite -b snpe --dim batch=1 -o out/
      graphopt run model.onnx -p fuse-conv-bn --only -o x.onnx
      graphopt run model.onnx --opset 20 -o newer.onnx
      graphopt run voice.onnx -b tflite --set sr=16000 -o out/
    """
    from graphopt.api import Data, default_recipe, optimize
    from graphopt.pipeline import make_backend
    from graphopt.pipeline.recipe import Recipe, from_specs, read
    from graphopt.verify import parse_dims, parse_values

    with options.clean_stdout():
        specs = [options.with_io_layout(spec, io_layout) for spec in options.flat(backends)]
        goals: list[Backend | None] = [make_backend(spec) for spec in specs] or [None]
    if only and recipe:
        raise UserError("--only runs the passes of -p alone: leave out --recipe")
    if output is not None:
        _refuse_compiled_name(output, goals)
    if output is not None and not _is_folder(output) and len(goals) > 1:
        raise UserError(f"-o {output} is one file, and there are {len(goals)} backends: give a folder, as out/")
    if output == "-" and as_json:
        raise UserError("-o - and --json both want standard output: leave out one")
    sizes, values = parse_dims(dims), parse_values(settings)
    data = None
    if calibration is not None:
        data = Data(Path(calibration), options.numbers(mean, "--mean"), options.numbers(std, "--std"), layout)
    results: list[tuple[Result, Path | None]] = []
    with options.model_file(model) as path, options.progress(quiet or as_json) as listener:
        if compiles:
            _require_compilers(goals)
        for goal in goals:
            with _places(output, goal.name if goal is not None else None, len(goals)) as places:
                with options.clean_stdout():
                    base = Recipe(()) if only else read(recipe) if recipe else default_recipe(goal)
                    chosen = _at_opset(base + from_specs(passes), opset)
                    result = optimize(
                        path, backend=goal, recipe=chosen, dims=sizes, values=values, calibration=data,
                        samples=samples, verify=verify, on_failure=on_failure, compile=compiles,
                        targets=options.flat(targets) if goal else (), output=places.model, artifact=places.artifact,
                        explain=explain, timeout=timeout, pass_timeout=pass_timeout, on_progress=listener,
                        hashes=as_json or places.folder is not None, details=places.folder is not None,
                    )  # fmt: skip
                report = _judged(_as_asked(result.report, model, output), opset)
                result = replace(result, report=report)
                result = places.finish(result)
            results.append((result, places.folder))
    _tell(results, as_json, quiet, output)
    return 0 if all(result.report.status == "ok" for result, _ in results) else 1


def _at_opset(recipe: Recipe, opset: int | None) -> Recipe:
    """The recipe with the conversion ahead, behind the steps that only mend what the inputs are."""
    from graphopt.pipeline.recipe import Step

    if opset is None:
        return recipe
    ahead = 0
    while ahead < len(recipe.steps) and recipe.steps[ahead].name.rpartition(":")[2] in _BEFORE_OPSET:
        ahead += 1
    steps = (*recipe.steps[:ahead], Step(_OPSET_PASS, {"target": opset}), *recipe.steps[ahead:])
    return replace(recipe, steps=steps)


def _judged(report: Report, opset: int | None) -> Report:
    """A run that was asked for an opset and could not reach it has no as its answer."""
    if opset is None or report.status != "ok":
        return report
    failed = (r for r in report.passes if r.name == _OPSET_PASS and r.outcome in ("failed", "rolled_back"))
    why = next((r.detail for r in failed), None)
    return report if why is None else replace(report, status="rejected", reason=f"--opset {opset}: {why}")


def _require_compilers(goals: Sequence[Backend | None]) -> None:
    """All of them, before the first one's work is done and written."""
    from graphopt.deploy import require

    for goal in goals:
        if goal is not None:
            require(goal)


def _as_asked(report: Report, model: str, output: str | None) -> Report:
    """The report in the user's words where standard input or output went through a temporary file."""
    if model == "-":
        report = replace(report, input=replace(report.input, path="-"))
    if output == "-" and report.output is not None:
        report = replace(report, output=replace(report.output, path="-"))
    return report


def _is_folder(output: str) -> bool:
    return output != "-" and (
        output.endswith("/") or Path(output).is_dir() or Path(output).suffix.lower() not in _MODEL_SUFFIXES
    )


def _refuse_compiled_name(output: str, goals: Sequence[Backend | None]) -> None:
    """A file named as the compiler's is not what `run` writes, and would be a folder."""
    for goal in goals:
        if goal is not None and goal.suffix and Path(output).suffix == goal.suffix and not Path(output).is_dir():
            raise UserError(
                f"-o {output}: give a folder, as out/, which receives model{goal.suffix}; "
                f"`graphopt compile` writes the compiled file alone"
            )


class _places:
    """The files that one backend's run writes.

    A folder's files are made in a temporary folder inside it and moved into place when the run is done, so that what
    an earlier run left stays whole until then. What goes to standard output goes through a temporary file.
    """

    def __init__(self, output: str | None, backend: str | None, count: int) -> None:
        self.output = output
        self.folder: Path | None = None
        self.model: Path | None = None
        self.artifact: Path | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._made: list[Path] = []
        if output is None:
            return
        if _is_folder(output):
            self.folder = Path(output, backend) if count > 1 and backend else Path(output)
            return
        # The model alone is asked for: what the compiler makes of it is tried and thrown away.
        self._scratch = tempfile.TemporaryDirectory(prefix="graphopt-")
        self.model = Path(self._scratch.name, "model.onnx") if output == "-" else Path(output)
        self.artifact = Path(self._scratch.name, "artifact")

    def __enter__(self) -> _places:
        if self.folder is not None:
            missing = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._scratch = tempfile.TemporaryDirectory(prefix=".graphopt-", dir=self.folder)
            except OSError as error:
                raise UserError(f"cannot write into {self.folder}: {(error.strerror or str(error)).lower()}") from None
            self._made = missing
            self.model = Path(self._scratch.name, "model.onnx")
        elif self.model is not None and not self.model.parent.is_dir():
            raise UserError(f"cannot write {self.model}: the folder {self.model.parent} does not exist")
        return self

    def finish(self, result: Result) -> Result:
        """Write the reports and move everything into place, or write the model to standard output.

        Returns:
            The result with the paths that the files have now.
        """
        if self.folder is not None and self._scratch is not None:
            from graphopt.report.write import write

            scratch = Path(self._scratch.name)
            result = replace(result, report=_moved(result.report, scratch, self.folder))
            write(result.report, scratch, result.drawing)
            self._settle(scratch, self.folder, result.report.backend)
        if self.output == "-" and self.model is not None:
            sys.stdout.buffer.write(self.model.read_bytes())
            sys.stdout.buffer.flush()
        return result

    @staticmethod
    def _settle(scratch: Path, folder: Path, backend: str | None) -> None:
        made = sorted(scratch.iterdir(), key=lambda file: file.name == "model.onnx")  # it refers to the others
        names = {file.name for file in made}
        stale = set(folder.glob("model.????????.data"))
        if backend is not None:
            from graphopt.pipeline import make_backend

            stale.add(folder / f"model{make_backend(backend).suffix}")
        for file in made:
            file.replace(folder / file.name)
        for file in stale:
            if file.name not in names:
                file.unlink(missing_ok=True)  # what an earlier run made of another model

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
        if kind is not None:
            # A run that could not be done leaves no empty folders behind.
            for folder in self._made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _moved(report: Report, scratch: Path, folder: Path) -> Report:
    """The report with paths in the folder where the files end up."""

    def move(thing: Any) -> Any:
        if isinstance(thing, str):
            return thing.replace(f"{scratch}{os.sep}", f"{folder}{os.sep}")
        if isinstance(thing, dict):
            return {key: move(value) for key, value in thing.items()}
        return [move(value) for value in thing] if isinstance(thing, list) else thing

    compiled = replace(report.compile, artifact=move(report.compile.artifact), detail=move(dict(report.compile.detail)))
    output = None if report.output is None else replace(report.output, path=move(report.output.path))
    return replace(report, compile=compiled, output=output)


def _tell(results: list[tuple[Result, Path | None]], as_json: bool, quiet: bool, output: str | None) -> None:
    if as_json or quiet:
        for result, _ in results:
            for record in result.report.passes:
                if record.outcome in ("failed", "rolled_back"):
                    what = f"{record.name} of {record.source} {record.outcome.replace('_', ' ')}"
                    click.echo(f"graphopt: {what}: {record.detail}", err=True)
    if as_json:
        from graphopt.report.model import to_json

        reports = [to_json(result.report) for result, _ in results]
        click.echo(json.dumps(reports[0] if len(reports) == 1 else reports, indent=1, ensure_ascii=False))
        return
    if not quiet:
        from graphopt.report.terminal import render, render_summary

        shown = options.console(stderr=output == "-")
        for result, folder in results:
            files = [folder / "report.json", folder / "report.html"] if folder is not None else []
            render(result.report, shown, files=files)
        if len(results) > 1:
            render_summary([result.report for result, _ in results], shown)
    for result, _ in results:
        for name, miss in result.misses:
            click.echo(f"{name}/{miss.rule} at {miss.at}: {miss.node} {miss.reason}", err=True)
        if quiet and result.report.status != "ok":
            click.echo(f"graphopt: {result.report.backend or 'run'}: {result.report.reason}", err=True)
