"""Turn onnxruntime's errors and QNN's verbose log into complaints about nodes of the user's model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graphopt.support.backend import NodeIssue

_ADDING = re.compile(r"trying to add node\. Onnx node name: \[(.*?)\] onnx node type: \[(.*?)\]")
_COMPOSING = re.compile(r"ComposeQnnGraph\] Qnn_OpConfig node name: (\S+) .*QNN_op_type: (\S+)")
_COMPOSED = "GetGraphInfoFromModel completed"
_UNIT = re.compile(r"Validation FAILED for \d+ nodes in OrtNodeUnit \((\S+)\)")
_NODE = re.compile(r"^\tOperator type: (\S+) Node name: (.*) Node index: \d+")
_REASON = re.compile(r"^\tREASON : (.*)")
_VENDOR = re.compile(r"<E> (.*)")
_TYPE = re.compile(r"QNN_DATATYPE_(\w+)")
_TAKES = re.compile(r"Supported I/O datatype sets for the configuration: (\S+)")
_REQUEST = "Requested I/O datatype set"
# Lines that follow each refusal and say nothing of its cause.
_NOISE = ("validateOpConfig failed", "Failed to validate op", "Please refer to", "unexpected GraphHtpSettings")
_TAIL = re.compile(r"\s*\S+ node `.*?` will not be assigned to QNN EP\.?")

_IR_VERSION = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(r"Opset (\d+) is under development.*support for domain (\S+) is till opset (\d+)", re.DOTALL)
_INFERENCE = re.compile(r"Node \((.*?)\) Op \((\w+)\) (\[\w+Error\].*)", re.DOTALL)
_UNKNOWN_OP = re.compile(r"(\S+?):?(\w+)\((-?\d+)\) is not a registered function/op")


@dataclass
class _Refusal:
    """What QNN has said of the node it is looking at."""

    words: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    takes: list[str] = field(default_factory=list)
    listing: bool = False

    def hear(self, line: str) -> None:
        if said := _VENDOR.search(line):
            text = said[1].strip()
            self.listing = _REQUEST in text
            if takes := _TAKES.search(text):
                self.takes.append(takes[1])
            elif not self.listing and not any(noise in text for noise in _NOISE):
                self.words.append(text)
        elif self.listing and (kind := _TYPE.search(line)):
            self.asked.append(kind[1])

    def because(self, reason: str) -> str:
        """One line: onnxruntime's reason, and QNN's own words where it has any."""
        parts = [_TAIL.sub("", reason).strip(), *dict.fromkeys(self.words)]
        if self.asked:
            asked, takes = (", ".join(dict.fromkeys(kinds)) for kinds in (self.asked, self.takes))
            parts.append(f"It is asked for {asked} and takes {takes}.")
        if reason.startswith("Cannot get shape"):
            parts.append("(not static: fix the inputs with --dim and fold constants)")
        return " ".join(part for part in parts if part)[:600]


def refusals(log: Path, nodes: Mapping[str, str]) -> list[NodeIssue]:
    """Read the nodes that QNN refused, each once, and why.

    Args:
        log: a verbose log of one session.
        nodes: op type by name, of the user's model.
    """
    found: dict[str, NodeIssue] = {}
    heard = _Refusal()
    unit, members = "", list[tuple[str, str]]()
    for line in _lines(log):
        if _ADDING.search(line):
            heard = _Refusal()
        heard.hear(line)
        if start := _UNIT.search(line):
            unit, members = start[1], []
        elif unit and (node := _NODE.match(line)):
            members.append((node[2], node[1]))
        elif unit and (reason := _REASON.match(line)):
            # A unit is an operator and the Q/DQ around it; the operator is the one to blame.
            name, op_type = next((m for m in members if m[1] == unit), members[0] if members else ("", unit))
            found.setdefault(name, locate(name, op_type, heard.because(reason[1]), nodes))
            unit, heard = "", _Refusal()
    return list(found.values())


def last_words(log: Path) -> str:
    """The last errors that QNN logged, for a failure that it does not tie to a node; "" where it logged none."""
    said = [m[1].strip() for line in _lines(log) if (m := _VENDOR.search(line)) and not any(n in m[1] for n in _NOISE)]
    return "; ".join(list(dict.fromkeys(said))[-3:])


def last_node(log: Path, nodes: Mapping[str, str], reason: str) -> NodeIssue:
    """Blame the node that QNN was working on when the log ends; none once the graph was composed."""
    at = ("", "")
    for line in _lines(log):
        if (work := _ADDING.search(line)) or (work := _COMPOSING.search(line)):
            at = work[1], work[2]
        elif _COMPOSED in line:
            at = ("", "")
    return locate(*at, reason, nodes)


def locate(name: str, op_type: str, reason: str, nodes: Mapping[str, str]) -> NodeIssue:
    """Map a node of onnxruntime's optimized graph to the user's: by its name, else by the longest name it extends.

    onnxruntime derives the names of nodes that it makes from those it replaces ("conv1" gives "conv1_token_3").
    """
    if name in nodes:
        return NodeIssue(name, nodes[name], reason)
    origin = max((known for known in nodes if known and name.startswith(known)), key=len, default="")
    if origin:
        return NodeIssue(origin, nodes[origin], reason)
    return NodeIssue("", op_type, f"{reason} (onnxruntime's node {name!r})" if name else reason)


def load_error(message: str, toolchain: str, nodes: Mapping[str, str]) -> NodeIssue | None:
    """Say in plain words why onnxruntime did not load the model, where that is what happened."""
    if version := _IR_VERSION.search(message):
        has, reads = version[1], version[2]
        return NodeIssue(
            "", "", f"the file has IR version {has} and {toolchain} reads up to {reads}: save it with that"
        )
    if opset := _OPSET.search(message):
        has, domain, reads = opset[1], opset[2], opset[3]
        reason = f"the model has opset {has} of {domain} and {toolchain} reads up to {reads}: convert it to that opset"
        return NodeIssue("", "", reason)
    if unknown := _UNKNOWN_OP.search(message):
        domain, op_type = unknown[1], unknown[2]
        name = next((name for name, kind in nodes.items() if kind == op_type), "")
        return NodeIssue(name, op_type, f"onnxruntime knows no operator {op_type} in domain {domain}")
    if wrong := _INFERENCE.search(message):
        return locate(
            wrong[1], wrong[2], f"onnxruntime does not load the model: {' '.join(wrong[3].split())[:400]}", nodes
        )
    return None


def _lines(log: Path) -> Iterator[str]:
    if not log.exists():
        return
    with log.open(errors="replace") as text:
        for line in text:
            yield line.rstrip("\n")
