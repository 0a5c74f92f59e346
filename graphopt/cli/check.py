"""`graphopt check`: which nodes each backend takes, from its measured table."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import options

if TYPE_CHECKING:
    from graphopt.report.model import Check


@click.command("check")
@click.argument("model", metavar="MODEL")
@options.backends(required=True)
@options.dims
@click.option("--toolchain", metavar="NAME", help="The toolchain whose table to use: a version, or a documented one.")
@click.option("--ask-compiler", is_flag=True, help="Compile as well, and say where table and compiler disagree.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for each compiler.")
@click.option("-v", "--verbose", is_flag=True, help="Name every node, with the evidence.")
@options.json_output
def command(
    model: str,
    backends: tuple[tuple[str, ...], ...],
    dims: tuple[str, ...],
    toolchain: str | None,
    ask_compiler: bool,
    timeout: float,
    verbose: bool,
    as_json: bool,
) -> int:
    """Say which nodes of MODEL each backend takes, and of the others why not and what to do.

    The answer comes from tables that were measured from the vendors' own compilers; none of them needs to be
    installed. Toolchains that cannot run here, as TensorRT itself and TFLite's delegates, have tables from their
    documentation, and the answer says so. Exit code 1 where a node is not supported.

    \b
      graphopt check model.onnx -b tflite,tensorrt,snpe
      graphopt check model.onnx -b snpe --dim batch=1 --json
      graphopt check model.onnx -b tflite --toolchain gpu-delegate
    """
    from graphopt.api import check
    from graphopt.report.model import to_json
    from graphopt.report.terminal import render_check
    from graphopt.verify import parse_dims

    names = options.flat(backends)
    with options.clean_stdout(), options.model_file(model) as path:
        found = check(path, names, dims=parse_dims(dims), toolchain=toolchain)
        answers = _ask(path, found, names, dims, timeout) if ask_compiler else {}
    if model == "-":
        found = replace(found, model=replace(found.model, path="-"))
    if as_json:
        data = to_json(found)
        for name, answer in answers.items():
            data["backends"][name]["compiler"] = answer
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        render_check(found, options.console(), verbose=verbose)
        for name, answer in answers.items():
            click.echo(f"{name}: {answer['verdict']}" + "".join(f"\n  {line}" for line in answer["disagreements"]))
    taken = all(not one.unsupported for one in found.backends.values())
    agreed = all(not answer["disagreements"] for answer in answers.values())
    return 0 if taken and agreed else 1


def _ask(path: str, found: Check, names: list[str], dims: tuple[str, ...], timeout: float) -> dict[str, dict[str, Any]]:
    """The compilers' own word on the model as it is, with its shapes fixed, and where it differs from the table's."""
    from graphopt.api import optimize
    from graphopt.pipeline.recipe import from_specs
    from graphopt.verify import parse_dims

    answers: dict[str, dict[str, Any]] = {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            result = optimize(
                path, backend=name, recipe=from_specs(["fix-input-shapes"] if dims else []), dims=parse_dims(dims),
                samples=0, verify="off", output=Path(folder, "model.onnx"), timeout=timeout,
            )  # fmt: skip
        compiled = result.report.compile
        table = {f.node for f in found.backends[name].unsupported}
        vendor = {issue.node: issue.reason for issue in compiled.issues}
        differ = [f"{node or 'the model'}: the compiler refuses it, the table does not: {why}"
                  for node, why in vendor.items()
                  if node not in table and (node or not table) and compiled.status == "failed"]  # fmt: skip
        if compiled.status == "ok":
            differ += [f"{node}: the table refuses it, the compiler does not" for node in sorted(table)]
        verdict = (
            f"{compiled.toolchain} takes it whole" if compiled.status == "ok" else f"{compiled.toolchain} refuses it"
        )
        answers[name] = {"status": compiled.status, "verdict": verdict, "disagreements": differ}
    return answers
