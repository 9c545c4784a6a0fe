"""The report in a real browser, without a network: nothing asked for, nothing complained of, nothing over anything else.

Pictures of every page are in the test's temporary folder (``--basetemp``), for people to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from browser import Browser, browser
from reports import bare, hostile, made
from trainer_runs import FIRST, NOW, eurusd, run_document, spec

from walkforward_core.runs import RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.report.page import make_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

PAGES = ("run", "two", "three", "trades", "hostile", "bare")
VIEWS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False), "phone-dark": (360, True)}

CROWDED = """
(() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg.chart')) {
    if (!svg.getClientRects().length) continue;
    const view = svg.viewBox.baseVal, texts = [...svg.querySelectorAll('text')].filter(one => one.textContent.trim());
    const boxes = texts.map(one => [one.textContent, one.getBBox()]);
    for (const [words, box] of boxes)
      if (box.x < -0.5 || box.y < -0.5 || box.x + box.width > view.width + 0.5 || box.y + box.height > view.height + 0.5)
        found.push(`outside: ${words}`);
    boxes.forEach(([a, p], index) => boxes.slice(index + 1).forEach(([b, q]) => {
      const wide = Math.min(p.x + p.width, q.x + q.width) - Math.max(p.x, q.x);
      const high = Math.min(p.y + p.height, q.y + q.height) - Math.max(p.y, q.y);
      if (wide > 0.5 && high > 3) found.push(`over each other: ${a} | ${b}`);
    }));
  }
  return found;
})()
"""
"""Labels outside their picture or over each other; line boxes may touch by the room above and below letters."""

PALE = """
(() => {
  const numbers = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(one => (one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) layers.push(colour);
      if (colour.length === 3 || colour[3] === 1) break;
    }
    const over = (below, [r, g, b, a = 1]) => [r, g, b].map((one, index) => one * a + below[index] * (1 - a));
    return layers.reverse().reduce(over, [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length || ['title', 'desc'].includes(element.tagName)) continue;
    const style = getComputedStyle(element), ink = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(numbers(ink)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${walker.currentNode.data.slice(0, 40)}`);
  }
  return [...new Set(found)];
})()
"""
"""Text whose contrast with what is behind it is below 4.5 (WCAG 2.1, AA)."""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    result, _ = execute(run_document(spec(eurusd(), folder / "run"), FIRST), allow_file=True, now_ms=NOW)
    assert result.verdict is RunVerdict.PUBLISHED, result.message
    (written,) = (folder / "run").rglob("report.html")
    reports = {
        "two": made(),
        "three": made(classes=3, features=45),
        "trades": made(bars=False, rows=120, features=6),
        "hostile": hostile(),
        "bare": bare(),
    }
    found = {"run": written}
    for name, report in reports.items():
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(make_page(report))
    return found


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PAGES)
def test_it_is_shown_whole_and_asks_for_nothing(window: Browser, pages: dict[str, Path], name: str, view: str) -> None:
    width, dark = VIEWS[view]
    address = pages[name].as_uri()
    window.open(address, width=width, dark=dark)
    window.screenshot(pages[name].with_name(f"{name}-{view}.png"))
    assert window.requests() == [address]
    assert window.complaints() == []
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate(CROWDED) == []
    assert window.evaluate(PALE) == []
    assert window.evaluate("document.scripts.length + document.images.length") == 0
    background = window.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize("name", ["two", "three"])
def test_it_can_be_printed(window: Browser, pages: dict[str, Path], name: str) -> None:
    window.open(pages[name].as_uri(), width=1280, dark=True)
    paper = window.pdf()
    assert paper.startswith(b"%PDF")
    assert 4 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 20


def test_only_one_of_the_two_sizes_of_a_picture_is_shown(window: Browser, pages: dict[str, Path]) -> None:
    shown: dict[int, Any] = {}
    for width in (1280, 390):
        window.open(pages["two"].as_uri(), width=width)
        shown[width] = [
            window.evaluate(f"[...document.querySelectorAll('svg.chart.{kind}')].filter(one => one.getClientRects().length).length")
            for kind in ("wide", "narrow")
        ]
    wide, narrow = shown[1280][0], shown[390][1]
    assert shown == {1280: [wide, 0], 390: [0, narrow]}
    assert wide == narrow > 4


class TestTheTestItself:
    """What the assertions above would find."""

    def test_a_page_that_asks(self, window: Browser, tmp_path: Path) -> None:
        page = tmp_path / "asks.html"
        page.write_text("<!doctype html><img src='http://192.0.2.1/x.png'><script>console.error('no')</script>", encoding="utf-8")
        window.open(page.as_uri(), width=1280)
        assert "http://192.0.2.1/x.png" in window.requests()
        assert len(window.complaints()) >= 1

    def test_the_policy_stops_it(self, window: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
        evil = b"<img src='http://192.0.2.1/x.png'><script>document.title = 'run'</script></body>"
        page = tmp_path / "evil.html"
        page.write_bytes(pages["bare"].read_bytes().replace(b"</body>", evil))
        window.open(page.as_uri(), width=1280)
        assert window.evaluate("document.title") != "run"
        assert any("Content Security Policy" in said for said in window.complaints())

    def test_labels_over_each_other_and_pale_ones(self, window: Browser, tmp_path: Path) -> None:
        page = tmp_path / "crowded.html"
        texts = "<text x=10 y=20>one</text><text x=14 y=20 style='fill:#ccc'>two</text><text x=95 y=50>outside</text>"
        page.write_text(f"<!doctype html><svg class=chart viewBox='0 0 100 100' width=100 height=100>{texts}</svg>", encoding="utf-8")
        window.open(page.as_uri(), width=1280)
        assert window.evaluate(CROWDED) == ["outside: outside", "over each other: one | two"]
        assert [words.partition(": ")[2] for words in window.evaluate(PALE)] == ["two"]
