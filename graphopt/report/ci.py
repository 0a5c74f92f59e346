"""The answer of `graphopt check` for what runs it unattended: JUnit XML and SARIF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from graphopt.report.model import BackendCheck, Check, Finding

_SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def junit(checks: Sequence[Check]) -> str:
    """JUnit XML: a suite for each model, a case for each backend, a failure where it does not take every node."""
    root = ElementTree.Element("testsuites", name="graphopt check")
    for check in checks:
        bad = sum(bool(one.unsupported) for one in check.backends.values())
        suite = ElementTree.SubElement(
            root, "testsuite", name=_clean(check.model.path), tests=str(len(check.backends)), failures=str(bad),
            errors="0", skipped="0",
        )  # fmt: skip
        for name, one in check.backends.items():
            case = ElementTree.SubElement(suite, "testcase", classname=_clean(check.model.path), name=name)
            if one.unsupported:
                failure = ElementTree.SubElement(case, "failure", message=_summary(name, one), type="unsupported")
                failure.text = _clean("\n".join(_sentence(finding) for finding in one.unsupported))
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def sarif(checks: Sequence[Check], version: str) -> dict[str, Any]:
    """SARIF 2.1.0, as code-scanning services take it: a rule for each backend, a result for each node it refuses.

    Args:
        checks: the answers, one a model.
        version: of graphopt.
    """
    names = sorted({name for check in checks for name in check.backends})
    rules = [
        {"id": f"unsupported/{name}", "shortDescription": {"text": f"{name} does not take a node of the model"}}
        for name in names
    ]
    results = [
        {
            "ruleId": f"unsupported/{name}", "ruleIndex": names.index(name), "level": "error",
            "message": {"text": _sentence(finding)},
            "locations": [{
                "physicalLocation": {"artifactLocation": {"uri": quote(check.model.path)}},
                "logicalLocations": [{"name": finding.node or finding.op_type, "kind": "object"}],
            }],
        }
        for check in checks for name, one in check.backends.items() for finding in one.unsupported
    ]  # fmt: skip
    driver = {"name": "graphopt", "version": version, "rules": rules}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _summary(name: str, one: BackendCheck) -> str:
    return f"{name} ({one.toolchain}) takes {one.supported} of {one.nodes} nodes"


def _sentence(finding: Finding) -> str:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.op_type} {finding.node!r}: {finding.reason}{remedy}"


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 has no way to write."""
    return "".join(sign if sign in "\t\n" or " " <= sign < "\ud800" or sign >= "\ue000" else "?" for sign in text)
