"""Options and small helpers that several subcommands share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from graphopt.errors import ModelError

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas; a name may have options, as name:key=value,key=value."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split; click calls this once for every time the option is given."""
        if not isinstance(value, str):
            names: tuple[str, ...] = value
            return names
        parts: list[str] = []
        for part in filter(None, map(str.strip, value.split(","))):
            if parts and "=" in part and ":" not in part.partition("=")[0]:
                parts[-1] += f",{part}"  # one more option of the name before
            else:
                parts.append(part)
        return tuple(parts) or self.fail("names nothing", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of installed backends."""
        from click.shell_completion import CompletionItem

        from graphopt.pipeline import BACKENDS

        before, _, last = incomplete.rpartition(",")
        lead = f"{before}," if before else ""
        return [CompletionItem(lead + e.name) for e in BACKENDS.entries() if e.name.startswith(last)]


def backends(required: bool) -> Callable[[F], F]:
    """`-b NAME`, several times or with commas."""
    return click.option(
        "-b", "--backend", "backends", type=Names(), multiple=True, required=required, metavar="NAME[,NAME…]",
        help="Where the model goes: tflite, tensorrt, snpe, or a plugin's; several times or separated by commas. "
        "NAME:KEY=VALUE,… sets its options; `graphopt backends show NAME` lists them.",
    )  # fmt: skip


def dims(function: F) -> F:
    """`--dim NAME=SIZE`."""
    return click.option(
        "--dim", "dims", multiple=True, metavar="NAME=SIZE",
        help="Size of a dynamic dimension (batch=1), of all without a name (?=224), the shape of an input "
        "(x=1x3x224x224), or open (batch=open) for a batch that the compiled file leaves open (tflite).",
    )(function)  # fmt: skip


def targets(function: F) -> F:
    """`--target CHIP`."""
    return click.option(
        "--target", "targets", type=Names(), multiple=True, metavar="CHIP[,CHIP…]",
        help="Chips to compile for; `graphopt backends show NAME` lists them.",
    )(function)  # fmt: skip


io_layout = click.option(
    "--io-layout", "io_layout", type=click.Choice(["keep", "nhwc", "nchw"]),
    help="Order of axes of the compiled file's images, for a backend that can choose (tflite): as in the model, "
    "channels last, or channels first.",
)  # fmt: skip


def with_io_layout(spec: str, layout: str | None) -> str:
    """A backend's spec with the option behind `--io-layout`."""
    return spec if layout is None else f"{spec}{',' if '=' in spec else ':'}io_layout={layout}"


json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")


def tell_choices(choices: Sequence[Mapping[str, Any]]) -> None:
    """Print the options of a pass or a backend, as `graphopt.options.described` gives them."""
    if choices:
        click.echo("\nOptions")
    for choice in choices:
        click.echo(f"  {choice['name']}={choice['default']}  {choice['help']}")


def flat(groups: Sequence[Sequence[str]]) -> list[str]:
    """Names from options that were given several times, without repetitions, in order."""
    return list(dict.fromkeys(name for group in groups for name in group))


def console(*, stderr: bool = False) -> Console:
    """A console that is colored only on a terminal and honors NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextmanager
def model_file(model: str) -> Iterator[str]:
    """The path of a model; "-" is standard input, kept in a temporary file while the block runs."""
    if model != "-":
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        path = Path(folder, "stdin.onnx")
        path.write_bytes(sys.stdin.buffer.read())
        try:
            yield str(path)
        except ModelError as error:
            if error.file != str(path):
                raise
            raise ModelError(error.reason, file="standard input", node=error.node) from None


@contextmanager
def clean_stdout() -> Iterator[None]:
    """While the block runs, what plugins and their libraries print goes to standard error.

    Standard output carries the answer alone, which a script parses; so the file descriptor is diverted as well.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error while the block runs, where standard error is a terminal; yields what moves it."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, position, count: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("load")

        def move(name: str, position: int, count: int) -> None:
            bar.update(task, description=name, completed=position, total=count)

        yield move
