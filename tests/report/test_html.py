"""The page: one file, nothing loaded, everything escaped, whole for every kind of run."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from graphopt.report.drawing import Drawing, Graph, Node, Value
from graphopt.report.html import render_html
from graphopt.report.model import (
    Compile,
    Finding,
    Histogram,
    Layer,
    OutputError,
    Partition,
    Report,
    Rewrite,
    Segment,
    Support,
    SupportChange,
)

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, and checks that each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def everywhere(report: Report, text: str) -> Report:
    """The report with `text` in every field that a model, a plugin or a vendor could fill."""
    output = OutputError(name=text, max_abs_error=None, max_rel_error=None, cosine=None, sqnr_db=None)
    finding = Finding(node=text, op_type=text, reason=text, evidence=text, remedy=text)
    segment = Segment(supported=False, nodes=1, first=text, last=text)
    support = Support(nodes=1, supported=0, unsupported=(finding,))
    rewrite = Rewrite(rule=text, removed=(text,), added=(text,))
    metrics = {text: 1.0, "removed": [{"layer": text, "kind": text, "before": 8, "after": 6}]}
    passes = tuple(
        replace(r, name=text, source=text, detail=text, log=(rewrite,), metrics=metrics) for r in report.passes
    )
    execution = replace(report.compile.execution, outputs=(output,), runtime=text, reason=text)
    compiled = replace(
        report.compile, toolchain=text, artifact=text, execution=execution, issues=(finding,), detail={text: text}
    )
    return replace(
        report, backend=text, input=replace(report.input, path=text), output=replace(report.input, path=text),
        passes=passes, support=SupportChange(before=support, after=support), compile=compiled, recipe=text, reason=text,
        notes=(text,), verification=replace(report.verification, outputs=(output,), detail=text),
        partition=Partition(segments=(segment, segment), crossing_bytes=1),
        layers=(Layer(node=text, op_type=text, metrics={text: 1.0}),),
        histograms=(Histogram(name=text, kind="weights", low=-1.0, high=1.0, counts=(1, 2), codes=(-0.5, 2.0)),),
    )  # fmt: skip


def drawn(text: str) -> Drawing:
    """A drawing with `text` wherever a model could have it."""
    value = Value(name=text, dtype=text, shape=text)
    node = Node(
        name=text, op_type=text, inputs=(0, None), outputs=(1,), attributes={text: text}, made_by=text, sources=(text,),
        body=text, macs=1, bytes=1,
    )  # fmt: skip
    graph = Graph(nodes=(node,), values=(value, value), inputs=(0,), outputs=(1,))
    return Drawing(before=graph, after=graph)


def test_hostile_names_stay_words(report: Report) -> None:
    page = Page(render_html(everywhere(report, HOSTILE), drawn(HOSTILE)))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2  # what is drawn, and what draws it
    assert "img" not in tags
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert sum(HOSTILE in word for word in page.words) >= 20


def test_the_page_loads_nothing_and_links_only_within_itself(report: Report, drawing: Drawing) -> None:
    text = render_html(report, drawing)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    page = Page(text)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "img"}
        assert "src" not in attributes
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in ids
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'")


def test_every_section_has_a_heading_and_every_id_is_used_once(report: Report, drawing: Drawing) -> None:
    page = Page(render_html(report, drawing))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "section":
            assert attributes["aria-labelledby"] in ids
    assert [tag for tag, _ in page.tags].count("h1") == 1


@pytest.mark.parametrize("kind", ["ok", "rejected", "neutral", "broken off"])
def test_every_kind_of_run_has_a_whole_page(report: Report, rejected: Report, kind: str) -> None:
    assert report.support is not None
    runs = {
        "ok": report,
        "rejected": rejected,
        "neutral": replace(report, backend=None, support=None, compile=Compile(), passes=()),
        "broken off": replace(
            report, status="failed", output=None, support=SupportChange(before=report.support.before), recipe=""
        ),
    }
    page = Page(render_html(runs[kind]))
    sections = {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    assert sections >= {"passes", "accuracy", "size"}
    assert "graph" not in sections  # nobody gave one
    assert ("support" in sections) == (kind != "neutral")
    assert ("recipe" in sections) == (kind != "broken off")


def test_the_bars_of_a_pass_show_what_was_kept_removed_and_added(report: Report) -> None:
    text = render_html(report)
    first = re.search(r'class="kept" style="width:([\d.]+)%"></i><i class="gone" style="width:([\d.]+)%"', text)
    assert first is not None
    assert [float(width) for width in first.groups()] == pytest.approx([100 * 380 / 412, 100 * 32 / 412], abs=0.01)


def test_the_recipe_can_be_copied_whole(report: Report) -> None:
    page = Page(render_html(report))
    assert report.recipe in page.words
