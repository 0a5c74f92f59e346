"""The command `graphopt`: its subcommands, found by name, and what its exit codes say.

0 done; 1 it ran and the answer is no; 2 the request or an input file is wrong.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

import click

from graphopt.cli.lazily import load_lazily
from graphopt.cli.memory import VARIABLE, bounded_memory
from graphopt.errors import GraphoptError, PluginError, UserError

BUILT_IN = {
    "run": "Rewrite a model, check it, compile it, and say what it cost.",
    "check": "Say which nodes a backend takes, and why not the others.",
    "compile": "Give a model to a vendor's compiler as it is.",
    "inspect": "Say what is in a model: operators, parameters, work, memory, layers.",
    "diff": "Say how two models differ, in structure, weights and outputs.",
    "bench": "Time models against each other, and say which is faster, if any.",
    "passes": "List the passes, or show one.",
    "backends": "List the backends, or show one.",
    "plugins": "List the distributions that passes, backends and commands come from.",
    "plugin": "Begin a plugin, or check one.",
    "reduce": "Make a model that fails as small as it can be and still fail alike.",
    "probe": "Measure a backend's support table again.",
    "completion": "Print the script that completes commands in a shell.",
}
_SECTIONS = (
    ("Deploy a model", ("run", "check", "compile")),
    ("Look at models", ("inspect", "diff", "bench")),
    ("See what there is", ("passes", "backends", "plugins")),
    ("Extend and set up", ("plugin", "reduce", "probe", "completion")),
)


class _Lazy(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*BUILT_IN, *_of_plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in BUILT_IN:
            from graphopt.plugins.commands import find_command

            return find_command(cmd_name)
        module = importlib.import_module(f"graphopt.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name, BUILT_IN[name]) for name in names])
        if more := _of_plugins():
            with formatter.section("From plugins"):
                formatter.write_dl([(name, f"of {source}") for name, source in more.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        import difflib

        from graphopt.plugins.commands import COMMANDS, clash

        if args and args[0] in BUILT_IN:
            for entry in COMMANDS.entries():
                if entry.name == args[0]:  # it does not take the command over, and somebody should know
                    click.echo(f"graphopt: {clash(entry, BUILT_IN)}", err=True)
        elif args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " See `graphopt --help`."
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def _of_plugins() -> dict[str, str]:
    """Commands of plugins that their plain names reach, each with its distribution."""
    from graphopt.plugins.commands import COMMANDS, clash

    return {entry.name: entry.source for entry in COMMANDS.entries() if not clash(entry, BUILT_IN)}


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphopt", message="graphopt %(version)s")
def cli() -> None:
    """Take ONNX models wholly onto TFLite, TensorRT and SNPE.

    A first session:

    \b
      graphopt check model.onnx -b tflite,tensorrt,snpe
      graphopt run model.onnx -b tflite -o out/
      graphopt run model.onnx -b snpe --dim batch=1 --calibration images/ -o out/

    Exit codes: 0 done; 1 it ran and the answer is no (unsupported nodes remain, outputs differ, the compiler refused);
    2 the request or an input file is wrong.
    """


def main() -> None:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    load_lazily()
    # Libraries log what graphopt says better itself.
    logging.getLogger("onnx_ir").addHandler(logging.NullHandler())
    logging.getLogger("onnx_ir").propagate = False
    try:
        with bounded_memory():
            code = cli.main(standalone_mode=False, prog_name="graphopt")
        sys.stdout.flush()
    except click.exceptions.Abort:
        code = _complain("stopped", 130)
    except KeyboardInterrupt:
        code = _complain("stopped", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (UserError, PluginError) as error:
        code = _complain(str(error), 2)
    except GraphoptError as error:
        code = _complain(str(error), 1)
    except RecursionError:
        code = _complain("a file is nested too deeply to be read", 2)
    except MemoryError:
        code = _complain(f"this takes more memory than there is ({VARIABLE}=SIZE sets another bound)", 1)
    except OSError as error:
        # What is still buffered has no place to go either: a reader that went away, a full disk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        words = (error.strerror or str(error)).lower()
        where = f"{error.filename}: " if error.filename else ""
        code = 1 if isinstance(error, BrokenPipeError) else _complain(f"{where}{words}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed, or the next file that is opened takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open until the end)


def _complain(message: str, code: int) -> int:
    click.echo(f"graphopt: {message}", err=True)
    return code
