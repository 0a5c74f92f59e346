"""What a model shows, in words that can be compared: by a command of the user's, or by a run of graphopt's own.

    before = of_command("my_tool {}", seconds=60)(model)      →  ("exit 139",)
    before = of_run(passes=["fuse-gelu"])(model)              →  ("fuse-gelu rolled_back: does not keep its fidelity",)

Empty words mean that nothing is wrong.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphopt.errors import GraphoptError, UserError

Shows = tuple[str, ...]
Behavior = Callable[[Any], Shows]
"""Of an `onnx.ModelProto`: what it shows."""


def of_command(command: str, *, seconds: float, match: str = "") -> Behavior:
    """What a shell command says of a model: how it ends, and whether its output holds a text.

    Args:
        command: `{}` in it stands for the model's file.
        seconds: after which it is stopped; that is how it ends, then.
        match: a text to look for in its output; only where it is there does the model show anything.

    Raises:
        UserError: the command does not say where the model's file goes.
    """
    if "{}" not in command:
        raise UserError("--command needs {} where the model's file goes, as in --command 'my_tool {}'")

    def shows(model: Any) -> Shows:
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            file = Path(folder, "model.onnx")
            file.write_bytes(model.SerializeToString())
            ended, output = _ended(command.replace("{}", shlex.quote(str(file))), seconds)
        if match:
            return (ended, match) if match in output else ()
        return () if ended == "exit 0" else (ended,)

    return shows


def _ended(command: str, seconds: float) -> tuple[str, str]:
    import os

    with subprocess.Popen(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:  # fmt: skip
        try:
            output, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # the shell's children too
            child.communicate()
            return f"no end in {seconds:g} s", ""
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    code = child.returncode
    return (f"exit {code}" if code >= 0 else signal.Signals(-code).name), output.decode(errors="replace")


def of_run(
    *, passes: Sequence[str] = (), backend: str | None = None, dims: Mapping[str, int | tuple[int, ...]] | None = None
) -> Behavior:
    """What a run says of a model: the first pass that failed or was taken back, what is unsupported, what ended it.

    Args:
        passes: as `-p` takes them, each verified; the backend's or the default recipe where empty.
        backend: where it goes; its compiler is asked.
        dims: sizes of dynamic dimensions.
    """
    from graphopt.api import optimize
    from graphopt.pipeline.recipe import from_specs

    recipe = from_specs(list(passes)) if passes else None

    def shows(model: Any) -> Shows:
        # A smaller model has fewer of the names.
        known = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim}
        known |= {value.name for value in model.graph.input}
        here = {name: size for name, size in (dims or {}).items() if name in known or name == "?"}
        try:
            report = optimize(
                model, backend=backend, recipe=recipe, dims=here, verify="each", compile=backend is not None,
                hashes=False,
            ).report  # fmt: skip
        except GraphoptError as error:
            return (type(error).__name__,)
        except Exception as error:  # noqa: BLE001 (a crash is what a user wants to make small)
            return (f"the run raises {type(error).__name__}",)
        return _told(report)

    return shows


def _told(report: Any) -> Shows:
    for record in report.passes:
        if record.outcome in ("failed", "rolled_back"):
            return (f"{record.name} {record.outcome}: {record.detail.partition(':')[0]}",)
    after = report.support.after if report.support is not None else None
    unsupported = after.unsupported if after is not None else ()
    if unsupported:
        return (f"unsupported {unsupported[0].op_type}", *_condition(unsupported[0].reason))
    if report.compile.status == "failed":
        return (f"{report.compile.toolchain} refuses it",)
    return (f"verification: {report.verification.detail}",) if report.verification.status == "failed" else ()


def _condition(reason: str) -> Shows:
    """The words of a reason up to what names this one model's numbers."""
    return (reason.partition("=")[0],)
