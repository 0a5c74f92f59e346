"""The page in a real Chromium, of a real model: nothing goes wrong, everything is there, and it answers.

Screenshots go to GRAPHOPT_SCREENSHOTS where that is set, as `make report-test` does, else to a temporary folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import graphopt
from graphopt.report.drawing import Drawing, Graph, Node, Value
from graphopt.report.html import render_html
from graphopt.report.model import (
    FileFacts,
    Finding,
    Histogram,
    Layer,
    Partition,
    Report,
    Segment,
    Support,
    SupportChange,
)

SECTIONS = ["Graph", "Passes", "Support by tflite", "Accuracy", "Size and work", "Compiled", "Recipe"]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("GRAPHOPT_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def real(demo_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a classifier of text direction, compiled to TFLite."""
    pytest.importorskip("ai_edge_litert")
    result = graphopt.optimize(demo_file("cls"), backend="tflite", dims={"x": (1, 3, 48, 192)}, details=True)
    assert result.drawing is not None
    return written(tmp_path_factory.mktemp("real"), render_html(result.report, result.drawing))


@pytest.fixture
def everything(report: Report, drawing: Drawing, tmp_path: Path) -> Path:
    """A page with every section that there is."""
    assert report.support is not None
    on, off = (Segment(supported=one, nodes=3, first="Conv_0", last="Relu_0", macs=9) for one in (True, False))
    finding = Finding(node="Relu_0", op_type="Relu", reason="not taken", evidence="probe 1", remedy="take it out")
    after = Support(nodes=2, supported=1, unsupported=(finding,))
    pruned = {"removed": [{"layer": "Conv_0", "kind": "Conv", "before": 64, "after": 41}], "macs_before": 9.0}
    whole = replace(
        report, support=SupportChange(before=report.support.before, after=after),
        partition=Partition(segments=(on, off, on), crossing_bytes=4096),
        passes=(*report.passes, replace(report.passes[0], name="prune-channels", metrics=pruned)),
        layers=(Layer(node="Conv_0", op_type="Conv", metrics={"sqnr_db": 31.5, "fall_db": 2.0, "ms": 0.2}),),
        histograms=(Histogram(name="Conv_0", kind="weights", low=-1.0, high=1.0, counts=(1, 5, 3), codes=(-0.5, 0.5)),),
    )  # fmt: skip
    return written(tmp_path, render_html(whole, drawing))


def written(folder: Path, text: str) -> Path:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


def opened(browser: Any, file: Path, width: int = 1440, scheme: str = "light") -> Any:
    """A page whose errors are kept in `page.troubles`."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page.troubles = []
    page.on("console", lambda message: page.troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("request", lambda request: page.troubles.append(request.url) if request.url[:5] != "file:" else None)
    page.set_default_timeout(5000)
    page.goto(file.as_uri())
    return page


def pixels(page: Any, side: str) -> str:
    """The picture of a graph as it is drawn now."""
    page.wait_for_timeout(50)
    picture: str = page.eval_on_selector(f"[data-side={side}] canvas", "canvas => canvas.toDataURL()")
    return picture


def search(page: Any, words: str) -> None:
    page.fill("#search", words)
    page.press("#search", "Enter")


def test_every_section_of_a_real_run_is_there_and_nothing_goes_wrong(browser: Any, real: Path, shots: Path) -> None:
    page = opened(browser, real)
    assert page.locator("main h2").all_inner_texts() == SECTIONS
    assert page.locator(".tiles li").count() == 4
    assert "Yes" in page.locator(".tiles li").first.inner_text()
    page.screenshot(path=shots / "real-light.png", full_page=True)
    assert page.troubles == []


def test_the_theme_follows_the_system_and_the_switch(browser: Any, real: Path, shots: Path) -> None:
    page = opened(browser, real, scheme="dark")
    dark, drawn = page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor"), pixels(page, "after")
    page.screenshot(path=shots / "real-dark.png", full_page=True)
    page.click("#theme")
    light = page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
    assert (dark, light) == ("rgb(19, 21, 25)", "rgb(246, 246, 243)")
    assert pixels(page, "after") != drawn
    assert page.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_aside(browser: Any, real: Path, shots: Path, scheme: str) -> None:
    page = opened(browser, real, width=360, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator(".graph").nth(1).is_visible()
    assert not page.locator(".graph").nth(0).is_visible()
    page.click("#sides button >> nth=0")
    assert page.locator(".graph").nth(0).is_visible()
    page.screenshot(path=shots / f"phone-{scheme}.png", full_page=True)


def test_a_search_finds_a_node_and_shows_where_it_came_from(browser: Any, real: Path, shots: Path) -> None:
    page = opened(browser, real)
    before = pixels(page, "before")
    search(page, "HardSwish")
    details = page.locator("#details").inner_text()
    assert "HardSwish" in details
    assert "fuse/hard-swish" in details
    assert "tflite takes it" in details
    assert page.locator("#found").inner_text().endswith(", after")
    assert pixels(page, "before") != before  # the other side went where it came from
    page.screenshot(path=shots / "selected.png")
    page.click("#details button:has-text('(Clip)')")
    assert page.locator("#details h3").inner_text() == "Clip"
    assert "Became" in page.locator("#details").inner_text()
    assert page.troubles == []


def test_a_click_on_a_node_selects_it_and_keys_lead_on_from_it(browser: Any, everything: Path) -> None:
    page = opened(browser, everything)
    canvas = page.locator("[data-side=after] canvas").first
    box = canvas.bounding_box()
    # A graph that fits stands in the middle: input, Conv, Relu, output.
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2 - 39})
    assert page.locator("#details h3").inner_text() == "Conv"
    assert "Norm_0 (BatchNormalization)" in page.locator("#details").inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator("#details h3").inner_text() == "Relu"
    assert "take it out" in page.locator("#details").inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator("#details h3").inner_text() == "input"
    page.keyboard.press("Escape")
    assert page.locator("#details h3").count() == 0
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_zoom_and_drag_change_what_is_drawn(browser: Any, real: Path) -> None:
    page = opened(browser, real)
    seen = {pixels(page, "after")}
    canvas = page.locator("[data-side=after] canvas").first
    page.click("[data-side=after] [data-zoom=out]")
    seen.add(pixels(page, "after"))
    canvas.hover(position={"x": 200, "y": 300})
    page.mouse.down()
    canvas.hover(position={"x": 300, "y": 200})
    page.mouse.up()
    seen.add(pixels(page, "after"))
    page.mouse.wheel(0, -400)
    seen.add(pixels(page, "after"))
    page.keyboard.press("0")
    seen.add(pixels(page, "after"))
    assert len(seen) == 5
    assert page.troubles == []


def test_colors_tell_support_pass_error_latency_and_work(browser: Any, everything: Path, shots: Path) -> None:
    page = opened(browser, everything)
    legends = {}
    for name in page.locator("#colors button").all_inner_texts():
        page.click(f"#colors button:has-text('{name}')")
        legends[name] = page.locator("#legend").inner_text()
    assert list(legends) == ["Support", "Pass", "Error", "Latency", "MACs"]
    assert "not on target 2" in legends["Support"]
    assert "fuse-conv-bn/conv-bn 1" in legends["Pass"]
    assert "30 to 40 dB 3" in legends["Error"]  # the fused Conv and the two that it came from
    assert "10 % of the MACs or more 2" in legends["MACs"]
    page.screenshot(path=shots / "everything.png", full_page=True)
    assert page.troubles == []


def test_the_table_lists_what_was_found_and_leads_to_it(browser: Any, everything: Path) -> None:
    page = opened(browser, everything)
    page.click("#nodes > summary")
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == 10  # 4 + 2 nodes, inputs and outputs
    page.fill("#search", "BatchNorm")
    assert page.locator("#table tbody tr").count() == 1
    page.click("#table tbody button")
    assert page.locator("#details h3").inner_text() == "BatchNormalization"
    page.click("#support .finding button:has-text('Relu_0')")
    assert page.locator("#details h3").inner_text() == "Relu"


def test_the_recipe_is_copied_whole(browser: Any, everything: Path, report: Report) -> None:
    page = opened(browser, everything)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.wait_for_function("document.getElementById('copy').textContent !== 'Copy'")
    if page.inner_text("#copy") == "Copied":
        assert page.evaluate("navigator.clipboard.readText()") == report.recipe
    else:
        assert page.evaluate("getSelection().toString()").strip() == report.recipe.strip()


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1440)])
def test_axe_finds_no_barrier(browser: Any, everything: Path, scheme: str, width: int) -> None:
    pytest.importorskip("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, everything, width=width, scheme=scheme)
    page.click("#nodes > summary")
    search(page, "Conv")
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found.response["violations"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_on_every_color_of_a_node_can_be_read(browser: Any, everything: Path, scheme: str) -> None:
    page = opened(browser, everything, scheme=scheme)
    ratios = page.evaluate("""() => {
      const names = [...document.styleSheets[0].cssRules[0].style].filter((name) => /^--fill-[a-z0-9]+$/.test(name));
      const probe = document.body.appendChild(document.createElement("i"));
      const luminance = (name) => {
        probe.style.color = `var(${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      return Object.fromEntries(names.map((name) => [name, ratio(luminance("--ink"), luminance(name))]));
    }""")
    assert len(ratios) == 18
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_a_page_of_5000_nodes_is_small_and_opens_in_two_seconds(
    browser: Any, report: Report, tmp_path: Path, shots: Path
) -> None:
    text = render_html(replace(report, input=facts(5000), output=facts(5000)), Drawing(before=deep(), after=deep()))
    assert len(text.encode()) < 3 * MEGABYTE
    file = written(tmp_path, text)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.perf_counter() - start < 2
    search(page, "layers.4321/")
    assert "layers.4321/" in page.locator("#details").inner_text()
    page.click("[data-side=before] [data-zoom=fit]")
    page.screenshot(path=shots / "large.png")


def facts(nodes: int) -> FileFacts:
    return FileFacts(path="large.onnx", sha256="", opset=17, nodes=nodes, parameters=9_000_000, bytes=36_000_000)


def deep(count: int = 5000) -> Graph:
    """Blocks of Conv, Relu, Conv and Add with names as exporters give them."""
    values, nodes = [Value(name="input", dtype="float32", shape="1×64×56×56")], []
    last = block = 0
    for index in range(count):
        kind = ("Conv", "Relu", "Conv", "Add")[index % 4]
        block = last if index % 4 == 0 else block
        inputs = [last]
        if kind == "Conv":
            values.append(Value(name=f"model.layers.{index}.weight", dtype="float32", shape="64×64×3×3", constant=True))
            inputs.append(len(values) - 1)
        elif kind == "Add":
            inputs.append(block)
        values.append(Value(name=f"/model/layers.{index}/{kind}_output_0", dtype="float32", shape="1×64×56×56"))
        last = len(values) - 1
        nodes.append(Node(name=f"/model/layers.{index}/{kind}", op_type=kind, inputs=tuple(inputs), outputs=(last,)))
    return Graph(nodes=tuple(nodes), values=tuple(values), inputs=(0,), outputs=(last,))
