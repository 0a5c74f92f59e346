"""`graphopt reduce`: the smallest model that shows what a model shows."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from graphopt.cli import options
from graphopt.errors import UserError


@click.command("reduce")
@options.model_argument("model")
@click.option("-o", "--output", required=True, metavar="FILE", help="The .onnx file to write.")
@click.option("--command", "shell", metavar="COMMAND", help="A shell command that fails; {} stands for the model.")
@click.option("--match", default="", metavar="TEXT", help="With --command: a text that its output must hold.")
@click.option(
    "-p", "--pass", "passes", multiple=True, metavar="NAME[:KEY=VALUE,…]", type=options.PassName(),
    help="Reduce what goes wrong in a pass; several times for several, in order.",
)  # fmt: skip
@options.backends(required=False)
@options.dims
@click.option("--timeout", default=120.0, show_default=True, help="Seconds for one run of --command.")
@click.option(
    "--seconds", default=600.0, show_default=True, help="Seconds in all; then the smallest so far is written."
)
@options.json_output
def command(
    model: str,
    output: str,
    shell: str | None,
    match: str,
    passes: tuple[str, ...],
    backends: tuple[tuple[str, ...], ...],
    dims: tuple[str, ...],
    timeout: float,
    seconds: float,
    as_json: bool,
) -> int:
    """Make MODEL as small as it can be and still fail in the same way: for a bug report, or to see what the reason is.

    \b
      graphopt reduce model.onnx --command 'my_compiler {} --fast' -o small.onnx
      graphopt reduce model.onnx --command 'my_compiler {}' --match 'assertion' -o small.onnx
      graphopt reduce model.onnx -p my-pass -o small.onnx
      graphopt reduce model.onnx -b tflite -o small.onnx

    A command fails in the same way where it ends with the same code (and its output holds --match); a pass where it
    raises or is taken back for the same reason; a backend where the same operator is unsupported, or its compiler
    refuses. Nodes are cut away, so that what they made becomes an input, and sizes and constants become simple.
    Exit code 1 where MODEL does not fail at all.
    """
    import onnx

    from graphopt.ir import load, to_bytes
    from graphopt.reduce import reduce
    from graphopt.reduce.behavior import of_command, of_run
    from graphopt.verify import parse_dims

    names = options.flat(backends)
    if (shell is None) == (not passes and not names) or len(names) > 1:
        raise UserError("say what goes wrong in one way: --command 'my_tool {}', -p NAME, or one -b NAME")
    if not Path(output).absolute().parent.is_dir():
        raise UserError(f"cannot write {output}: the folder {Path(output).parent} does not exist")
    with options.clean_stdout(), options.model_file(model) as path:
        start = time.monotonic()
        whole = onnx.load_from_string(to_bytes(load(path)))
        shows = (
            of_run(passes=passes, backend=names[0] if names else None, dims=parse_dims(dims))
            if shell is None
            else of_command(shell, seconds=timeout, match=match)
        )
        before = shows(whole)
        if before:
            found = reduce(whole, lambda smaller: shows(smaller) == before, seconds=seconds)
    if not before:
        click.echo("graphopt: nothing goes wrong with this model, so there is nothing to reduce", err=True)
        return 1
    _write(found.model.SerializeToString(deterministic=True), Path(output))
    took = time.monotonic() - start
    told = {
        "output": output, "shows": list(before), "nodes_before": found.nodes_before, "nodes_after": found.nodes_after,
        "tried": found.tried, "finished": found.finished, "seconds": round(took, 3),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(told, indent=1))
        return 0
    click.echo(f"it shows: {'; '.join(before)}")
    rest = "" if found.finished else "; the time was up: a larger --seconds may find a smaller one"
    size = f"{found.nodes_after} of {found.nodes_before} nodes"
    click.echo(f"{output}: {size}, {found.tried} models tried, {took:.1f} s{rest}")
    return 0


def _write(data: bytes, output: Path) -> None:
    from graphopt.ir.files import atomic

    try:
        with atomic(output) as staged:
            staged.out.write(data)
    except OSError as error:
        raise UserError(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from None
