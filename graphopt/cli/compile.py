"""`graphopt compile`: the vendor's compiler on a model as it is."""

from __future__ import annotations

from pathlib import Path

import click

from graphopt.cli import options
from graphopt.errors import UserError


@click.command("compile")
@options.model_argument("model")
@options.backends(required=True)
@click.option("-o", "--output", required=True, metavar="FILE", type=options.File(), help="The file to write.")
@options.targets
@options.io_layout
@click.option("--timeout", default=600.0, show_default=True, help="Seconds that the compiler may take.")
@options.json_output
def command(
    model: str,
    backends: tuple[tuple[str, ...], ...],
    output: str,
    targets: tuple[tuple[str, ...], ...],
    io_layout: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Give MODEL to a vendor's compiler as it is, without any pass.

    \b
      graphopt compile model.onnx -b snpe -o model.dlc
      graphopt compile model.onnx -b tensorrt --target sm89 -o model.engine
    """
    import json

    from graphopt.deploy import require
    from graphopt.ir import load
    from graphopt.pipeline import make_backend

    names = options.flat(backends)
    if len(names) != 1:
        raise UserError("compile takes one backend: -b NAME")
    with options.clean_stdout():
        backend = make_backend(options.with_io_layout(names[0], io_layout))
    wanted = options.flat(targets)
    for one in wanted:
        if one not in backend.targets:
            raise UserError(f"--target {one}: {backend.name} compiles for {', '.join(backend.targets) or 'no choice'}")
    if Path(output).is_dir():
        raise UserError(f"cannot write {output}: is a folder; name a file, as {Path(output, 'model')}{backend.suffix}")
    if not Path(output).parent.is_dir():
        raise UserError(f"cannot write {output}: the folder {Path(output).parent} does not exist")
    require(backend)
    with options.model_file(model) as path, options.clean_stdout():
        load(path)  # a file that is not a model is the user's mistake, not the compiler's refusal
        result = backend.compile(Path(path), Path(output), targets=wanted, timeout=timeout)
    if as_json:
        issues = [{"node": i.node, "op_type": i.op_type, "reason": i.reason} for i in result.issues]
        click.echo(json.dumps({
            "backend": backend.name, "status": result.status, "toolchain": result.toolchain,
            "artifact": str(result.artifact) if result.artifact else None, "bytes": result.bytes,
            "seconds": result.seconds, "issues": issues,
        }, indent=1))  # fmt: skip
    elif result.status == "ok":
        click.echo(f"{result.artifact}: {result.bytes:,} bytes, {result.toolchain}, {result.seconds:.1f} s")
    else:
        click.echo(f"graphopt: {result.toolchain} refuses the model", err=True)
    if not as_json:
        for issue in result.issues:
            where = f"{issue.op_type} {issue.node}: " if issue.node else ""
            click.echo(f"  {where}{issue.reason}", err=True)
    return 0 if result.status == "ok" else 1
