"""Reports on the terminal: the answers first, then what was done, what is left and what was written.

Nothing here reads rich's markup: names come from models and plugins, so every word travels as `rich.text.Text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from graphopt.report import words
from graphopt.report.model import Check, Outcome, PassRecord, Report, Status, check_from_json
from graphopt.report.words import FindingGroup, Tone

_STYLES: dict[Tone, str] = {"good": "green", "bad": "red", "plain": ""}
_STATUS: dict[Status, tuple[str, Tone]] = {"ok": ("✓", "good"), "rejected": ("✗", "bad"), "failed": ("✗", "bad")}
_OUTCOME: dict[Outcome, Text] = {
    "applied": Text("✓", "green"),
    "unchanged": Text("·", "dim"),
    "rolled_back": Text("↺", "yellow"),
    "failed": Text("✗", "red"),
}
_ASCII = str.maketrans("✓✗·↺→−×…—“”│", '+x.<>-x.-""|')
_NAMES = ("Model", "Artifact", "Toolchain")  # columns that may take more than one line
_FALL_SHOWN = 3.0
"""dB that a layer's output has less than its inputs, from which on it is named."""
_NAMES_SHOWN = 3


def render(report: Report, console: Console, *, verbose: bool = False, files: Sequence[str | PurePath] = ()) -> None:
    """Print `report`.

    Args:
        report: the record of a run.
        console: where to; without a terminal behind it rich leaves out colors.
        verbose: also passes that changed nothing, every detail line and every node's name.
        files: what was written beyond the model and the artifact, as report.json and report.html.
    """
    parts: list[RenderableType] = [_headline(report)]
    parts += [Text(words.printable(report.reason), "red")] if report.reason else []
    parts += [Text(), _answers(report)]
    parts += _passes(report.passes, verbose)
    if report.support and report.support.after:
        parts += _findings("Not supported", words.group(report.support.after.unsupported), verbose)
    parts += _findings("The compiler says", words.group(report.compile.issues), verbose)
    parts += _files(report, files)
    _show(Group(*parts), console)


def render_check(check: Check | Mapping[str, Any], console: Console, *, verbose: bool = False) -> None:
    """Print what each backend takes of a model, then what it does not take, with the reason and the remedy.

    Args:
        check: the check, or its "graphopt.check/1" JSON object.
        console: where to.
        verbose: the name of every node, and the evidence.

    Raises:
        UserError: `check` is a JSON object, but not of that kind.
    """
    check = check if isinstance(check, Check) else check_from_json(check)
    heading = Text.assemble((words.printable(check.model.path), "bold"), f"  {words.plural(check.model.nodes, 'node')}")
    right = ("Nodes", "MACs", "Segments", "Crossing")
    table = _table("Backend", "Nodes", "MACs", "Segments", "Crossing", "On target", "Toolchain", right=right)
    for name, answer in check.backends.items():
        whole = answer.supported == answer.nodes and not answer.unsupported
        table.add_row(
            Text(words.printable(name)),
            f"{answer.supported} of {answer.nodes}",
            "" if not answer.macs else f"{100 * (answer.supported_macs or 0) / answer.macs:.4g} %",
            str(answer.segments),
            "" if answer.crossing_bytes is None else words.size(answer.crossing_bytes),
            Text("✓ yes", "green") if whole else Text("✗ no", "red"),
            Text(words.printable(answer.toolchain)),
        )
    parts: list[RenderableType] = [heading, Text(), table]
    for name, answer in check.backends.items():
        if answer.documented:
            told = f"{name}: from the vendor's documentation, not measured: {answer.documented}"
            parts += [Text(), Text(words.printable(told), "yellow")]
    for name, answer in check.backends.items():
        parts += _findings(f"Not supported by {words.printable(name)}", words.group(answer.unsupported), verbose)
    _show(Group(*parts), console)


def render_summary(reports: Sequence[Report], console: Console) -> None:
    """Print one row a run: models by backends, and how the artifact agrees with the original in the vendor's runtime.

    Args:
        reports: the runs, in the order to show them.
        console: where to.
    """
    table = _table(
        "Model", "Backend", "Nodes", "Unsupported", "Artifact", "Size", "Agreement",
        right=("Nodes", "Unsupported", "Size", "Agreement"),
    )  # fmt: skip
    for report in reports:
        nodes = f"{report.input.nodes} → {report.output.nodes if report.output else '?'}"
        size = words.size(report.compile.bytes) if report.compile.artifact else ""
        name, backend = PurePath(report.input.path).stem, report.backend or "ONNX"
        cells = [Text(words.printable(name)), Text(words.printable(backend)), Text(nodes), _unsupported(report)]
        table.add_row(*cells, _artifact(report), Text(size), _agreement(report))
    _show(table, console)


def _show(content: RenderableType, console: Console) -> None:
    """Print `content`: in a log without trailing blanks, and in ASCII where the encoding holds nothing else."""
    ascii_only = console.options.ascii_only
    if console.is_terminal and not ascii_only:
        console.print(content)
        return
    with console.capture() as capture:
        console.print(content)
    text = "\n".join(line.rstrip() for line in capture.get().splitlines())
    if ascii_only:
        text = text.translate(_ASCII).encode("ascii", "replace").decode()
    console.print(Text.from_ansi(text), soft_wrap=True)


def _findings(heading: str, groups: Sequence[FindingGroup], verbose: bool = False) -> list[RenderableType]:
    """Troubles by cause, each with its reason, its nodes and its remedy; nothing where there is none."""
    if not groups:
        return []
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for found in groups if verbose else words.across_operators(groups):
        body = Text.assemble((words.printable(found.op_type or "model"), "bold"), f"  {words.printable(found.reason)}")
        named = [words.printable(name) for name in found.nodes if name]
        shown = named if verbose else named[:_NAMES_SHOWN]
        if shown:
            more = f" and {len(named) - len(shown)} more" if len(shown) < len(named) else ""
            body.append(f"\nat {', '.join(shown)}{more}", "dim")
        effect = next((effect for effect in words.HARM if found.evidence.startswith(effect)), "")
        if effect and not verbose:
            body.append(f"\notherwise: {effect}", "red")
        if found.evidence and verbose:
            body.append(f"\nevidence: {words.printable(found.evidence)}", "dim")
        if found.remedy:
            body.append("\nremedy: ", "green").append(words.printable(found.remedy))
        table.add_row(Text(f"{len(found.nodes)} ×", "red"), body)
    return [Text(), Text(heading, "bold"), Padding(table, (0, 0, 0, 2))]


def _headline(report: Report) -> Text:
    mark, tone = _STATUS[report.status]
    return Text.assemble(
        (f"{mark} {report.status}", f"bold {_STYLES[tone]}"),
        f"  {words.printable(words.title(report))}",
        (f"  {words.duration(report.seconds)}", "dim"),
    )


def _answers(report: Report) -> Table:
    table = _grid()
    for answer in words.answers(report):
        table.add_row(Text(f"  {answer.topic}", "dim"), Text(words.printable(answer.text), _STYLES[answer.tone]))
    for topic, told in _losses(report):
        table.add_row(Text(f"  {words.printable(topic)}", "dim"), Text(words.printable(told)))
    for note in report.notes:
        table.add_row(Text("  note", "dim"), Text(words.printable(note), "yellow"))
    return table


def _losses(report: Report) -> Iterator[tuple[str, str]]:
    """What lossy passes say of themselves, and the layers at which most is lost."""
    lossy = [one for one in report.passes if one.outcome == "applied" and one.fidelity == "lossy"]
    yield from ((one.name, one.detail) for one in lossy if one.detail)
    falls = [(layer.metrics.get("fall_db") or 0.0, layer) for layer in report.layers]
    worst = sorted((pair for pair in falls if pair[0] >= _FALL_SHOWN), key=lambda pair: -pair[0])[:_NAMES_SHOWN]
    if lossy and worst:
        yield "worst", ", ".join(f"{layer.node} −{fall:.1f} dB" for fall, layer in worst)


def _grid() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=11)
    table.add_column(overflow="fold")
    return table


def _passes(passes: Sequence[PassRecord], verbose: bool) -> list[RenderableType]:
    shown = list(passes) if verbose else words.noteworthy(passes)
    quiet = len(passes) - len(shown)
    tail = [Text(f"  {words.plural(quiet, 'other pass')} changed nothing", "dim")] if quiet else []
    if not shown:
        return [Text(), *tail] if tail else []
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", width=1)
    table.add_column("Pass", overflow="fold")
    table.add_column("Rewrites", justify="right")
    table.add_column("Nodes", justify="right", no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    table.add_column("Fidelity")
    for record in shown:
        table.add_row(
            _OUTCOME[record.outcome],
            Text(words.printable(record.name)),
            str(record.rewrites),
            f"{record.nodes_before} → {record.nodes_after}",
            words.duration(record.seconds),
            record.fidelity,
        )
    undone = [r for r in shown if r.outcome in ("rolled_back", "failed") or (verbose and r.detail)]
    return [Text(), Padding(table, (0, 0, 0, 2)), *map(_pass_detail, undone), *tail]


def _pass_detail(record: PassRecord) -> RenderableType:
    outcome = record.outcome.replace("_", " ")
    text = Text.assemble((f"{words.printable(record.name)} {outcome}", _STYLES["bad"]))
    if record.outcome in ("applied", "unchanged"):
        text = Text(words.printable(record.name), "bold")
    return Padding(text.append(f": {words.printable(record.detail)}" if record.detail else ""), (0, 0, 0, 2))


def _files(report: Report, files: Iterable[str | PurePath]) -> list[RenderableType]:
    written: list[tuple[str, int]] = [(report.output.path, report.output.bytes)] if report.output else []
    written += [(report.compile.artifact, report.compile.bytes)] if report.compile.artifact else []
    if not written and not files:
        return []
    table = _grid()
    for path, count in written:
        table.add_row(Text(f"  {words.size(count)}", "dim"), Text(words.printable(path)))
    for other in files:
        table.add_row(Text(), Text(words.printable(str(other))))
    return [Text(), Text("Written", "bold"), table]


def _unsupported(report: Report) -> Text:
    after = report.support.after if report.support else None
    if after is None:
        return Text("?" if report.support else "", "dim")
    # A finding about the whole model counts too, though it stands for no node.
    count = max(after.nodes - after.supported, len(after.unsupported))
    return Text(str(count), _STYLES["bad" if count else "good"])


def _artifact(report: Report) -> Text:
    compiled = report.compile
    if compiled.status == "ok" and compiled.artifact:
        return Text(words.printable(PurePath(compiled.artifact).name))
    return Text("refused", "red") if compiled.status == "failed" else Text("not built", "dim")


def _agreement(report: Report) -> Text:
    execution = report.compile.execution
    low = words.worst(execution.outputs)
    if low is not None:
        return Text(words.agreement(low), _STYLES["good" if execution.status == "passed" else "bad"])
    if execution.status == "unavailable":
        return Text("not run", "dim") if report.compile.status == "ok" else Text()
    return Text(execution.status, _STYLES["good" if execution.status == "passed" else "bad"])


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        justify: Literal["right", "left"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading not in _NAMES)
    return table
