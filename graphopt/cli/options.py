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

from graphopt.errors import ModelError, UserError
from graphopt.options import split

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

F = TypeVar("F", bound=Callable[..., Any])
_PATIENCE = 1.0
"""Seconds of work before a bar shows how much is left."""
_LOG_WIDTH = 140
"""Columns of a table that goes to a file, where the environment does not say (COLUMNS)."""


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas; a name may have options, as name:key=value,key=value."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split; click calls this once for every time the option is given."""
        if not isinstance(value, str):
            names: tuple[str, ...] = value
            return names
        parts: list[str] = []
        for part in filter(None, map(str.strip, split(value))):
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


class File(click.ParamType[str]):
    """The path of a file, which the shell completes; "-" is standard input where a command takes it."""

    name = "file"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Left to the shell, which knows the folders."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class PassName(click.ParamType[str]):
    """The name of a pass, with or without options behind a colon."""

    name = "pass"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of installed passes."""
        from click.shell_completion import CompletionItem

        from graphopt.pipeline import PASSES

        return [CompletionItem(entry.name) for entry in PASSES.entries() if entry.name.startswith(incomplete)]


class BackendName(click.ParamType[str]):
    """The name of a backend."""

    name = "backend"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of installed backends."""
        from click.shell_completion import CompletionItem

        from graphopt.pipeline import BACKENDS

        return [CompletionItem(entry.name) for entry in BACKENDS.entries() if entry.name.startswith(incomplete)]


def model_argument(name: str, metavar: str = "MODEL", **settings: Any) -> Callable[[F], F]:
    """The argument that is a model file."""
    return click.argument(name, metavar=metavar, type=File(), **settings)


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


calibration = click.option(
    "--calibration", metavar="DATA", type=File(),
    help="Your samples, to compare on and for passes that need statistics: a .npz, a .npy, a folder of them, or a "
    "folder of images. Without it inputs are generated.",
)  # fmt: skip


def images(function: F) -> F:
    """`--mean`, `--std`, `--layout`: how images among the samples become tensors."""
    for option in (
        click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="For images: the order of axes."),
        click.option("--std", metavar="A[,B,C]", help="For images: what the result is divided by."),
        click.option("--mean", metavar="A[,B,C]", help="For images: subtracted from pixels in 0…1, for each channel."),
    ):
        function = option(function)
    return function


def numbers(text: str | None, option: str) -> list[float] | None:
    """Numbers separated by commas.

    Raises:
        UserError: they are not.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: give numbers separated by commas, as 0.485,0.456,0.406") from None


quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors alone; the exit code is the answer.")
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


def show(content: RenderableType) -> None:
    """Print on standard output: on a terminal as it is, in a file without trailing blanks and as wide as need be."""
    shown = console()
    if shown.is_terminal:
        shown.print(content)
        return
    if "COLUMNS" not in os.environ:
        shown.width = _LOG_WIDTH
    with shown.capture() as capture:
        shown.print(content)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def onnx_only(file: str, command: str) -> None:
    """Refuse what a backend compiled, in better words than that it is not ONNX.

    Raises:
        UserError: the file ends as a backend's artifacts do.
    """
    suffix = Path(file).suffix
    if suffix in ("", ".onnx") or not Path(file).exists():
        return
    from graphopt.errors import PluginError
    from graphopt.pipeline import BACKENDS

    for entry in BACKENDS.entries():
        try:
            backend = entry.load()
        except PluginError:
            continue
        if backend.suffix == suffix:
            bench = f"; `graphopt bench` can time {suffix} files" if backend.runner else ""
            raise UserError(
                f"{file}: is compiled for {backend.name}, and `graphopt {command}` reads ONNX models: give the model "
                f"that it was compiled from{bench}"
            )


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


def writable(file: str) -> None:
    """Make sure that a file can be written, before the work that fills it.

    Raises:
        UserError: it is a folder, or its folder does not exist.
    """
    path = Path(file)
    if path.is_dir():
        raise UserError(f"cannot write {file}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {file}: the folder {path.parent} does not exist")


def write(file: str, text: str) -> None:
    """Write a text whole or not at all."""
    from graphopt.ir.files import atomic

    try:
        with atomic(Path(file)) as staged:
            staged.out.write(text.encode(errors="backslashreplace"))
    except OSError as error:
        raise UserError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None


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
    """A bar on standard error, where that is a terminal and the block takes long; yields what moves it."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, position, count: None
        return
    import threading

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(*columns, console=console(stderr=True), transient=True, refresh_per_second=2)
    task = bar.add_task("load", total=None)

    def move(name: str, position: int, count: int) -> None:
        bar.update(task, description=name, completed=position, total=count)

    later = threading.Timer(_PATIENCE, bar.start)
    later.daemon = True
    later.start()
    try:
        yield move
    finally:
        later.cancel()
        bar.stop()
