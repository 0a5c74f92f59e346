"""`graphopt inspect`: what is in a model file."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from graphopt.cli import options


@click.command("inspect")
@options.model_argument("model")
@options.backends(required=False)
@options.dims
@click.option("--layers", "every", is_flag=True, help="Show every node in order, not only those that cost most.")
@options.json_output
def command(
    model: str, backends: tuple[tuple[str, ...], ...], dims: tuple[str, ...], every: bool, as_json: bool
) -> int:
    """Say what is in MODEL: inputs, operators, parameters, work, memory, and what each layer costs.

    Weights are never read, so a model of any size takes about a second. Shapes, multiply-accumulates (MACs) and memory
    depend on the sizes of dynamic dimensions: those that --dim does not set are chosen as is usual for such an input,
    and the answer says which. The peak is of the values between the nodes, each in a buffer of its own; weights come on
    top.

    \b
      graphopt inspect model.onnx
      graphopt inspect model.onnx --layers --dim batch=8
      graphopt inspect model.onnx -b tflite,snpe
      graphopt inspect model.onnx --json | jq '.operators'

    With -b it also says which nodes a backend takes; `graphopt check` says why it does not take the others. The JSON is
    of the schema "graphopt.inspect/1".
    """
    from graphopt.inspection import inspect
    from graphopt.inspection.terminal import rendered
    from graphopt.verify import parse_dims

    options.onnx_only(model, "inspect")
    names, sizes = options.flat(backends), parse_dims(dims)
    with options.model_file(model) as path, options.clean_stdout():
        found = inspect(path, dims=sizes)
        refused = _refused(path, names, {**found.sizes, **sizes}) if names else {}
    found = replace(found, path=model)
    if as_json:
        told = {name: {"supported": found.nodes - len(nodes), "unsupported": nodes} for name, nodes in refused.items()}
        click.echo(
            json.dumps({**found.as_json(), **({"backends": told} if told else {})}, indent=1, ensure_ascii=False)
        )
    else:
        options.show(rendered(found, every=every, refused=refused))
    return 0


def _refused(path: str, names: list[str], sizes: dict[str, int | tuple[int, ...]]) -> dict[str, list[str]]:
    """By backend, the nodes that it does not take at these sizes."""
    from graphopt.api import check

    answers = check(path, names, dims=sizes).backends
    return {name: [finding.node for finding in answer.unsupported] for name, answer in answers.items()}
