"""What a backend is: a name, a measured table, the recipe it likes, and the vendor's own compiler behind two calls."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from graphopt.options import NoOptions, validated

if TYPE_CHECKING:
    import numpy as np

    from graphopt.support.table import Table


@dataclass(frozen=True)
class NodeIssue:
    """One complaint of a vendor's compiler, mapped to a node of the model where the vendor says which.

    Attributes:
        node: name of the ONNX node, "" where the vendor names none.
        op_type: its operator, "" where unknown.
        reason: the vendor's words, on one line.
    """

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True)
class CompileResult:
    """What the vendor's compiler made of a model.

    Attributes:
        status: "ok" only when the artifact is finished and on disk.
        toolchain: distribution and version, as in "ai-edge-litert 2.3.0".
        artifact: the file that was written, None unless ok.
        bytes: its size.
        seconds: wall time of the compilation.
        issues: complaints, mapped to nodes where possible; also fallbacks.
        detail: what else the backend knows (JSON-able), as targets, partitions or a crash signal.
    """

    status: Literal["ok", "failed"]
    toolchain: str
    artifact: Path | None = None
    bytes: int = 0
    seconds: float = 0.0
    issues: tuple[NodeIssue, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecutionResult:
    """What the vendor's runtime answered.

    Attributes:
        status: "ok", "unavailable" (the runtime needs hardware that is not here) or "failed".
        samples: one mapping a sample, from the ONNX output name to its array; empty unless ok.
        reason: why not, on one line.
        runtime: where it ran, as "LiteRT CPU" or "HTP emulation, soc_model 57".
    """

    status: Literal["ok", "unavailable", "failed"]
    samples: tuple[Mapping[str, np.ndarray], ...] = ()
    reason: str = ""
    runtime: str = ""


@dataclass(frozen=True)
class Costs:
    """How a backend weighs one form of a computation against another; only ratios matter.

    Attributes:
        mac: one multiply-accumulate.
        byte: one byte that an operator reads or writes.
        node: one operator, whatever its size: dispatch, and the chance that it is not fused.
    """

    mac: float = 1.0
    byte: float = 4.0
    node: float = 2000.0


class Backend(abc.ABC):
    """A place to deploy to. Register a subclass under the entry-point group `graphopt.backends`.

    Options are the fields of a frozen dataclass named `Options`; on the command line they are
    `-b name:field=value`, in a recipe keys of the table `backend`. A backend must be cheap to create: import the
    vendor's packages only inside `compile` and `execute`, and there only in a child process
    (`graphopt.support.child.call`), so that a crash or a hang of the vendor's library is a result and not the end of
    the run.
    """

    name: ClassVar[str]
    """The word after -b."""
    title: ClassVar[str]
    """The vendor's own name for it, for people."""
    suffix: ClassVar[str]
    """Suffix of the artifact, with the dot."""
    extra: ClassVar[str]
    """The extra of `pip install 'graphopt[…]'` that brings the vendor's packages."""
    targets: ClassVar[Sequence[str]] = ()
    """What `--target` takes; empty where there is nothing to choose."""
    tolerance_db: ClassVar[float] = 60.0
    """SQNR in dB above which the vendor's runtime counts as agreeing with the original on float models."""
    roundoff: ClassVar[float] = 2.0**-24
    """Unit roundoff of the arithmetic that the target computes float models in."""
    execution_samples: ClassVar[int] = 4
    """Samples that `execute` is given at most; fewer where the runtime is a slow emulator."""
    costs: ClassVar[Costs] = Costs()
    """What the legalizer takes for the cheaper of two legal forms."""
    execution: ClassVar[str] = ""
    """What "ran" means in the support table, as "LiteRT CPU" or "compiled ahead of time, not executed"."""
    prober: ClassVar[str] = ""
    """ "module:function" that gives the vendor's verdict on one probe; see `graphopt.support.probe`."""
    runner: ClassVar[str] = ""
    """ "module:function" that opens an artifact for `graphopt bench`, in a process of its own, as
    function(file, sample, threads=…, optimization=…); `graphopt.bench.worker.Running` is what it returns. "" where the
    vendor's runtime cannot be timed here."""
    Options: ClassVar[type] = NoOptions

    def __init__(self, **options: Any) -> None:
        self.options: Any = validated(f"backend {self.name}", self.Options, options)

    def table(self) -> Table:
        """The support table, measured from the toolchain it names: `table.json` beside the class."""
        from graphopt.support.table import load

        return load(self._folder() / "table.json")

    def tables(self) -> list[Table]:
        """All tables: the one in use, then those of other toolchains, `table-*.json` beside the class.

        Measured ones go before documented ones.
        """
        from graphopt.support.table import load

        others = [load(file) for file in sorted(self._folder().glob("table-*.json"), reverse=True)]
        return [self.table(), *sorted(others, key=lambda table: table.evidence == "documented")]

    def _folder(self) -> Path:
        return Path(inspect.getfile(type(self))).parent

    def recipe(self) -> str:
        """The TOML recipe that this backend's models go through by default: `recipe.toml` beside the class."""
        return (self._folder() / "recipe.toml").read_text(encoding="utf-8")

    def quantization(self) -> str | None:
        """The TOML of its quantization schemes: `quantize.toml` beside the class, None where there is none.

        See `graphopt.quantize.scheme` for the format.
        """
        file = self._folder() / "quantize.toml"
        return file.read_text(encoding="utf-8") if file.is_file() else None

    @abc.abstractmethod
    def toolchain(self) -> str | None:
        """Distribution and version of the installed vendor package, or None where it is not installed."""

    @abc.abstractmethod
    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Compile the ONNX file `model` with the vendor's compiler and write `artifact`, whole or not at all.

        Args:
            model: an ONNX file with its external data beside it.
            artifact: where to write.
            targets: chips to compile for, out of `self.targets`; empty means the backend's default.
            timeout: seconds of wall time that the vendor's compiler may take.

        Raises:
            MissingExtraError: the vendor's package is not installed.
        """

    @abc.abstractmethod
    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Run what `compile` made in the vendor's runtime, on inputs by their ONNX names.

        Args:
            compiled: the result of `compile`, with status "ok".
            model: the ONNX file that it was compiled from (some runtimes start from it).
            samples: inputs, one mapping a sample.
            timeout: seconds of wall time in all.
        """


class TableBackend(Backend):
    """A target that is known by its table alone: it can be checked against and legalized for, and compiles nothing.

    A subclass has a name and a title; `table.json` and `recipe.toml` lie beside it.
    """

    suffix = ""
    extra = ""

    def toolchain(self) -> str | None:
        """None: there is nothing to install."""
        return None

    def compile(
        self, model: Path, artifact: Path, *, targets: Sequence[str] = (), timeout: float = 600.0
    ) -> CompileResult:
        """Say that there is no compiler."""
        return CompileResult("failed", self.title, issues=(NodeIssue("", "", "it is known by its table alone"),))

    def execute(
        self,
        compiled: CompileResult,
        model: Path,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        timeout: float = 600.0,
    ) -> ExecutionResult:
        """Say that there is no runtime."""
        return ExecutionResult("unavailable", reason=f"{self.title} is known by its table alone")
