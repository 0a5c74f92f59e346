"""The data of a report: plain frozen dataclasses whose fields, in their order, are the keys of the JSON contract.

A field marked `_LATER` is an addition to the contract: it is left out of the JSON while it is empty, so scripts that
know only the contract see exactly the contract. JSON knows no NaN and no infinity: those become null.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from graphopt.errors import UserError
from graphopt.report.measured import Histogram as Histogram
from graphopt.report.measured import Layer as Layer
from graphopt.report.measured import Partition as Partition
from graphopt.report.measured import Segment as Segment
from graphopt.report.measured import Speed as Speed

Fidelity = Literal["exact", "rounding", "lossy"]
Outcome = Literal["applied", "unchanged", "rolled_back", "failed"]
Status = Literal["ok", "rejected", "failed"]

_T = TypeVar("_T")


_LATER = MappingProxyType({"later": True})


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A model file as it lies on disk.

    Attributes:
        path: as the user wrote it; "-" for standard input or output.
        sha256: of the file's bytes, in hexadecimal.
        opset: version of the default operator set.
        nodes: nodes of the graph.
        parameters: elements of all initializers.
        bytes: size of the file and of its external data.
        macs: multiply-accumulate operations of one inference, None where the shapes are not known.
        moved_bytes: what its operators read and write in one inference, None where the shapes are not known.
    """

    path: str
    sha256: str
    opset: int
    nodes: int
    parameters: int
    bytes: int
    macs: int | None = field(default=None, metadata=_LATER)
    moved_bytes: int | None = field(default=None, metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """One place where a pass changed the graph: names of the nodes that went and of those that came."""

    rule: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """What one pass did.

    Attributes:
        source: distribution and version that the pass comes from.
        fidelity: what it promises about the numbers.
        rewrites: how many places it changed.
        nodes_before, nodes_after: nodes of the graph around it.
        seconds: its wall time.
        outcome: "rolled_back" when it broke its promise, "failed" when it raised; both leave the model as it was.
        detail: one line for people, "" where there is nothing to say.
        log: the single rewrites, where they were recorded.
        metrics: what it measured, by name: legalize says macs_before, macs_after, moved_bytes_before and …_after.
            Three are no numbers: `layers`, a list of {"name", "op_type", "sqnr_db", …}; `removed`, a list of
            {"layer", "kind", "before", "after"} of channels; `histograms`, by the name of what was counted.
    """

    name: str
    source: str
    fidelity: Fidelity
    rewrites: int
    nodes_before: int
    nodes_after: int
    seconds: float
    outcome: Outcome
    detail: str = ""
    log: tuple[Rewrite, ...] = field(default=(), metadata=_LATER)
    metrics: Mapping[str, Any] = field(default_factory=dict, metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A node that the target does not take.

    Attributes:
        node: its name, "" where the whole model is meant.
        op_type: its operator.
        reason: the constraint that it breaks.
        evidence: the measurement behind the reason.
        remedy: what to do about it, "" where nothing is known.
    """

    node: str
    op_type: str
    reason: str
    evidence: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Support:
    """How much of a graph the backend's support table takes."""

    nodes: int
    supported: int
    unsupported: tuple[Finding, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is left outside the target."""
        return self.supported == self.nodes and not self.unsupported


@dataclass(frozen=True, kw_only=True)
class SupportChange:
    """Support of the original and of the optimized graph; `after` is None where the run ended before."""

    before: Support
    after: Support | None = None


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """Distance of one output from the original's, the worst over all samples.

    Attributes:
        max_abs_error: largest |y - y₀|, in the output's unit; None where it is not finite.
        max_rel_error: largest |y - y₀| / |y₀|; None where it is not finite.
        cosine: y·y₀ / (|y| |y₀|); None where one of them is zero.
        sqnr_db: 10 log₁₀(Σ y₀² / Σ (y - y₀)²), in dB; None where it is not finite, as for identical values.
    """

    name: str
    max_abs_error: float | None
    max_rel_error: float | None
    cosine: float | None
    sqnr_db: float | None

    @property
    def decibels(self) -> float:
        """SQNR to compare by: +∞ for identical values, -∞ where nothing finite can be said."""
        if self.max_abs_error == 0:
            return math.inf
        if self.sqnr_db is None or math.isnan(self.sqnr_db):
            return -math.inf
        return self.sqnr_db


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The optimized model against the original, on the same inputs, in the reference runtime."""

    status: Literal["passed", "failed", "skipped"] = "skipped"
    inputs: Literal["generated", "file"] = "generated"
    samples: int = 0
    outputs: tuple[OutputError, ...] = ()
    detail: str = field(default="", metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The compiled model in the vendor's runtime against the original in the reference runtime.

    Attributes:
        runtime: where it ran, as "LiteRT CPU".
        reason: why not, where it did not.
    """

    status: Literal["passed", "failed", "unavailable"] = "unavailable"
    outputs: tuple[OutputError, ...] = ()
    runtime: str = field(default="", metadata=_LATER)
    reason: str = field(default="", metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Compile:
    """What the vendor's compiler made of the optimized model.

    Attributes:
        toolchain: distribution and version, as "ai-edge-litert 2.3.0"; None where none is installed.
        artifact: the file that was written, None unless ok.
        bytes: its size.
        seconds: wall time of the compilation.
        issues: complaints and fallbacks, by node where the vendor says which.
        detail: what else the backend knows, JSON-able.
    """

    status: Literal["ok", "failed", "skipped"] = "skipped"
    toolchain: str | None = None
    artifact: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    execution: Execution = field(default_factory=Execution)
    issues: tuple[Finding, ...] = field(default=(), metadata=_LATER)
    detail: Mapping[str, Any] = field(default_factory=dict, metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The record of one run for one backend; see `to_json` for its file format.

    Attributes:
        graphopt: version of graphopt that ran.
        backend: None for a run without -b.
        status: "ok"; "rejected" when the run ended and the answer is no; "failed" when it could not end.
        input, output: the model files; `output` is None where none was written.
        support: None without a backend.
        recipe: the TOML that repeats the run.
        seconds: wall time of the run.
        peak_rss_bytes: largest resident memory of the run.
        reason: one sentence on why the status is not ok.
        notes: one line each on what went on without stopping the run, as a plugin that did not load.
        speed: measured inference times, None where nobody measured.
        provenance: name of a node of the output to the nodes of the input that it came from.
        partition: what would run where; None without a backend.
        layers: per-layer measurements.
        histograms: of a quantized model's worst layers.
    """

    schema: Literal["graphopt.report/1"] = "graphopt.report/1"
    graphopt: str = field(default_factory=lambda: version("graphopt"))
    backend: str | None
    status: Status
    input: FileFacts
    output: FileFacts | None
    passes: tuple[PassRecord, ...] = ()
    support: SupportChange | None = None
    verification: Verification = field(default_factory=Verification)
    compile: Compile = field(default_factory=Compile)
    recipe: str = ""
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    reason: str = field(default="", metadata=_LATER)
    notes: tuple[str, ...] = field(default=(), metadata=_LATER)
    speed: Speed | None = field(default=None, metadata=_LATER)
    provenance: Mapping[str, tuple[str, ...]] = field(default_factory=dict, metadata=_LATER)
    partition: Partition | None = field(default=None, metadata=_LATER)
    layers: tuple[Layer, ...] = field(default=(), metadata=_LATER)
    histograms: tuple[Histogram, ...] = field(default=(), metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """The model that `graphopt check` looked at."""

    path: str
    nodes: int


@dataclass(frozen=True, kw_only=True)
class BackendCheck:
    """What one backend takes of a model.

    Attributes:
        toolchain: the vendor's version that the table was measured on, or that was asked.
        segments: pieces that the target would run with the unsupported nodes between them; 1 when it takes all.
        macs, supported_macs: multiply-accumulates in all, and those in supported nodes.
        crossing_bytes: what would cross between the target and the fallback at each inference.
        documented: where the table was read; a table without it was measured.
    """

    toolchain: str
    nodes: int
    supported: int
    segments: int
    unsupported: tuple[Finding, ...] = ()
    macs: int | None = field(default=None, metadata=_LATER)
    supported_macs: int | None = field(default=None, metadata=_LATER)
    crossing_bytes: int | None = field(default=None, metadata=_LATER)
    documented: str = field(default="", metadata=_LATER)


@dataclass(frozen=True, kw_only=True)
class Check:
    """The answer of `graphopt check`: one model against several backends' support tables."""

    schema: Literal["graphopt.check/1"] = "graphopt.check/1"
    model: CheckedModel
    backends: Mapping[str, BackendCheck]


def to_json(record: Report | Check) -> dict[str, Any]:
    """The JSON object of `record`, of strings, finite numbers, booleans, null, lists and dicts alone."""
    result: dict[str, Any] = _plain(record)
    return result


def from_json(data: Mapping[str, Any]) -> Report:
    """Read a "graphopt.report/1" object; keys that it does not know are passed over.

    Raises:
        UserError: a key is missing or has a wrong value; the message names it.
    """
    return _read(Report, data)


def check_from_json(data: Mapping[str, Any]) -> Check:
    """Read a "graphopt.check/1" object; keys that it does not know are passed over.

    Raises:
        UserError: a key is missing or has a wrong value; the message names it.
    """
    return _read(Check, data)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return {f.name: _plain(v) for f, v in pairs if not (f.metadata.get("later") and v in (None, "", (), {}))}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | PurePath):
        # A file name that is not UTF-8 reaches Python as lone surrogates, which no JSON reader takes back.
        return str(value).encode(errors="backslashreplace").decode()
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return [_plain(item) for item in value]
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def _read(kind: type[_T], data: Mapping[str, Any]) -> _T:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the top level"
        message = f"not a graphopt {kind.__name__.lower()}: {where}: {first['msg'].lower()}"
        raise UserError(f"{message}; write it again with this version of graphopt") from None
