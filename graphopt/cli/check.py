"""`graphopt check`: which nodes each backend takes, from its measured table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from graphopt.cli import options

if TYPE_CHECKING:
    from graphopt.report.model import Check

Dims = Mapping[str, int | tuple[int, ...]]
Answers = dict[str, dict[str, Any]]
"""What each backend's compiler said, by the name of the backend."""


@click.command("check")
@options.model_argument("models", metavar="MODEL…", nargs=-1, required=True)
@options.backends(required=True)
@options.dims
@click.option("--toolchain", metavar="NAME", help="The toolchain whose table to use: a version, or a documented one.")
@click.option("--ask-compiler", is_flag=True, help="Compile as well, and say where table and compiler disagree.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds for each compiler.")
@click.option("-v", "--verbose", is_flag=True, help="Name every node, with the evidence.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "junit", "sarif"]), default="text", show_default=True,
    help="How to answer: for people, for programs, for a CI's test report, for code scanning.",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice(["unsupported", "nothing"]), default="unsupported", show_default=True,
    help="When to end with exit code 1.",
)  # fmt: skip
@options.json_output
def command(
    models: tuple[str, ...],
    backends: tuple[tuple[str, ...], ...],
    dims: tuple[str, ...],
    toolchain: str | None,
    ask_compiler: bool,
    timeout: float,
    verbose: bool,
    form: Literal["text", "json", "junit", "sarif"],
    fail_on: Literal["unsupported", "nothing"],
    as_json: bool,
) -> int:
    """Say which nodes of each MODEL each backend takes, and of the others why not and what to do.

    The answer comes from tables that were measured from the vendors' own compilers; none of them needs to be
    installed. Toolchains that cannot run here, as TensorRT itself and TFLite's delegates, have tables from their
    documentation, and the answer says so. Exit code 1 where a node is not supported.

    \b
      graphopt check model.onnx -b tflite,tensorrt,snpe
      graphopt check model.onnx -b snpe --dim batch=1 --json
      graphopt check model.onnx -b tflite --toolchain gpu-delegate
      graphopt check models/*.onnx -b tflite --format junit > report.xml
    """
    from graphopt.verify import parse_dims

    names = options.flat(backends)
    sizes = parse_dims(dims)
    answered = [
        _one(model, names, sizes, toolchain, timeout if ask_compiler else None, of_many=len(models) > 1)
        for model in models
    ]
    _tell(answered, "json" if as_json else form, verbose)
    taken = all(not one.unsupported for found, _ in answered for one in found.backends.values())
    agreed = all(not answer["disagreements"] for _, answers in answered for answer in answers.values())
    return 0 if (taken or fail_on == "nothing") and agreed else 1


def _one(
    model: str, names: list[str], sizes: Dims, toolchain: str | None, timeout: float | None, *, of_many: bool
) -> tuple[Check, Answers]:
    """The tables' word on one model; with a timeout, the compilers' as well."""
    from graphopt.api import check

    with options.clean_stdout(), options.model_file(model) as path:
        own = _own(path, sizes) if of_many else sizes
        found = check(path, names, dims=own, toolchain=toolchain)
        answers = {} if timeout is None else _ask(path, found, names, own, timeout)
    return (replace(found, model=replace(found.model, path="-")) if model == "-" else found), answers


def _own(path: str, sizes: Dims) -> Dims:
    """Of sizes that were given for many models, those that this one has an input or a dimension for."""
    from graphopt.ir import load

    inputs = load(path).graph.inputs
    known = {"?", *(value.name for value in inputs)}
    known |= {dim.value for value in inputs for dim in value.shape or () if not isinstance(dim, int)}
    return {name: size for name, size in sizes.items() if name in known}


def _tell(answered: Sequence[tuple[Check, Answers]], form: str, verbose: bool) -> None:
    from graphopt.report import ci
    from graphopt.report.model import to_json
    from graphopt.report.terminal import render_check

    checks = [found for found, _ in answered]
    if form == "junit":
        click.echo(ci.junit(checks), nl=False)
    elif form == "sarif":
        click.echo(json.dumps(ci.sarif(checks, version("graphopt")), indent=1, ensure_ascii=False))
    elif form == "json":
        data = [to_json(found) for found in checks]
        for one, (_, answers) in zip(data, answered, strict=True):
            for name, answer in answers.items():
                one["backends"][name]["compiler"] = answer
        click.echo(json.dumps(data[0] if len(data) == 1 else data, indent=1, ensure_ascii=False))
    else:
        for found, answers in answered:
            render_check(found, options.console(), verbose=verbose)
            for name, answer in answers.items():
                click.echo(f"{name}: {answer['verdict']}" + "".join(f"\n  {line}" for line in answer["disagreements"]))


def _ask(path: str, found: Check, names: list[str], sizes: Dims, timeout: float) -> Answers:
    """The compilers' own word on the model as it is, with its shapes fixed, and where it differs from the table's."""
    from graphopt.api import optimize
    from graphopt.pipeline.recipe import from_specs

    answers: Answers = {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            result = optimize(
                path, backend=name, recipe=from_specs(["fix-input-shapes"] if sizes else []), dims=sizes,
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
