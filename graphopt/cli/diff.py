"""`graphopt diff`: how two models differ."""

from __future__ import annotations

import json
from typing import Literal

import click

from graphopt.cli import options
from graphopt.errors import UserError


@click.command("diff")
@options.model_argument("first", "A")
@options.model_argument("second", "B")
@options.dims
@click.option("--samples", default=4, show_default=True, type=click.IntRange(0), help="Inputs to compare outputs on.")
@options.calibration
@options.images
@click.option("--html", metavar="FILE", type=options.File(), help="Write a page that shows the same.")
@click.option("-v", "--verbose", is_flag=True, help="Name every node and every weight.")
@options.json_output
@options.quiet
def command(
    first: str,
    second: str,
    dims: tuple[str, ...],
    samples: int,
    calibration: str | None,
    mean: str | None,
    std: str | None,
    layout: Literal["nchw", "nhwc"] | None,
    html: str | None,
    verbose: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Say how model B differs from model A: in structure, in weights, and in what it computes.

    Nodes are paired by what they compute, then by the provenance that graphopt leaves in models it wrote, by names and
    by their neighbors; so a model that another tool renamed, simplified or quantized is understood, too. Both run in
    onnxruntime, without its own optimizations, on the same inputs; what one model leaves open takes the size that the
    other fixes.

    \b
      graphopt diff model.onnx optimized.onnx
      graphopt diff float.onnx quantized.onnx --calibration images/ --html diff.html
      graphopt diff a.onnx b.onnx --samples 0 --json | jq '.rewritten[].by'
      graphopt diff before.onnx after.onnx --quiet && echo "nothing to see"

    Exit code 0 where B can take A's place (the same inputs and outputs, and what comes out is the same within
    rounding), 1 where they differ, 2 where the request is wrong. With --samples 0 nothing runs, and only models that
    are alike in structure and weights count as the same. The JSON is of the schema "graphopt.diff/1".
    """
    from graphopt.diff import diff, render_html
    from graphopt.verify import parse_dims

    if first == second == "-":
        raise UserError("only one of the models can come from standard input")
    for one in (first, second):
        options.onnx_only(one, "diff")
    if html is not None:
        options.writable(html)
    images = {"mean": options.numbers(mean, "--mean"), "std": options.numbers(std, "--std"), "layout": layout}
    with (
        options.model_file(first) as a, options.model_file(second) as b,
        options.progress(quiet or as_json) as listener, options.clean_stdout(),
    ):  # fmt: skip
        found = diff(
            a, b, dims=parse_dims(dims), samples=samples, calibration=calibration, images=images, on_progress=listener
        )
    found = found.named(first, second)
    if html is not None:
        options.write(html, render_html(found))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    elif not quiet:
        from graphopt.diff.terminal import rendered

        options.show(rendered(found, every=verbose))
        if html is not None:
            click.echo(f"\nWritten: {html}")
    return 1 if found.verdict == "different" else 0
