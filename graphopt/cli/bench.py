"""`graphopt bench`: which model is faster, if any."""

from __future__ import annotations

import json

import click

from graphopt.cli import options


@click.command("bench")
@options.model_argument("models", "MODEL…", nargs=-1, required=True)
@options.dims
@click.option(
    "--threads", type=click.IntRange(1), metavar="N",
    help="Threads of each runtime; by default as many as there are processors, and at most 4.",
)  # fmt: skip
@click.option(
    "--seconds", default=3.0, show_default=True, type=click.FloatRange(min=0.1),
    help="How long each model runs, all its processes together.",
)  # fmt: skip
@click.option(
    "--repeat", "rounds", type=click.IntRange(2), metavar="N",
    help="Turns of each model in each process; by default as many as fit, from 5 to 12.",
)  # fmt: skip
@click.option(
    "--processes", default=3, show_default=True, type=click.IntRange(1),
    help="How often everything is started afresh; two processes of one model differ, too.",
)  # fmt: skip
@click.option(
    "--optimization", type=click.Choice(["all", "extended", "basic", "none"]), default="all", show_default=True,
    help="What onnxruntime may rewrite itself.",
)  # fmt: skip
@click.option("--profile", is_flag=True, help="Time single operators as well, where the runtime can.")
@click.option("--plot", metavar="FILE.svg", type=options.File(), help="Draw the times into a picture.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds that loading, or one turn, may take.")
@options.json_output
@options.quiet
def command(
    models: tuple[str, ...],
    dims: tuple[str, ...],
    threads: int | None,
    seconds: float,
    rounds: int | None,
    processes: int,
    optimization: str,
    profile: bool,
    plot: str | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Time each MODEL, and compare the others with the first.

    A file ending in .onnx runs in onnxruntime, one ending in .tflite in LiteRT, one of a plugin's backend in its
    runtime; they may be mixed. All get the same generated inputs. Each has processes of its own, and they take turns,
    so that whatever else the machine does hits all alike.

    \b
      graphopt bench model.onnx
      graphopt bench original.onnx optimized.onnx --dim batch=1
      graphopt bench model.onnx out/model.tflite --threads 1 --plot speed.svg
      graphopt bench a.onnx b.onnx --json | jq '.comparisons[0]'

    A model is called faster or slower only where the interval around the ratio leaves out 1: it comes from the rounds
    by the bootstrap, reaches over all processes, and differences below 1 % do not count. Where noise is larger than the
    difference, the answer says so: close other programs, or give it more --seconds.

    Exit code 0 whatever is faster, 1 where a model cannot be run, 2 where the request is wrong. The JSON is of the
    schema "graphopt.bench/1".
    """
    from graphopt.bench import bench
    from graphopt.bench.terminal import rendered
    from graphopt.verify import parse_dims

    if plot is not None:
        options.writable(plot)
    with options.progress(quiet or as_json) as listener, options.clean_stdout():
        found = bench(
            models, dims=parse_dims(dims), threads=threads, seconds=seconds, rounds=rounds, processes=processes,
            optimization=optimization, profile=profile, timeout=timeout, on_progress=listener,
        )  # fmt: skip
    if plot is not None:
        from graphopt.bench.plot import draw

        options.write(plot, draw(found))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    elif not quiet:
        options.show(rendered(found))
        if plot is not None:
            click.echo(f"\nWritten: {plot}")
    return 0
