"""The page: every number of it is in report.json, nothing that a user names becomes a tag, what is not there leaves no frame."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from offline_gates import EVERY
from reports import HOSTILE, START, bare, hostile, made

from walkforward_core.bundle import GateRecord, Verdict
from walkforward_core.offline import GATES, limits_of
from walkforward_trainer.backtest import backtest
from walkforward_trainer.report.answers import calibration, confusions, days
from walkforward_trainer.report.data import Table
from walkforward_trainer.report.figures import THIN, bps, count, fixed, number, percent, share
from walkforward_trainer.report.markup import el, text
from walkforward_trainer.report.money import BASE, MODEL, cost_curve, money
from walkforward_trainer.report.page import make_page
from walkforward_trainer.report.scale import linear, times
from walkforward_trainer.report.sections.gates import ASKS, side

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWS = (count, share, bps, lambda value: bps(value, sign=True), lambda value: percent(value, 0), percent)
FIGURE = re.compile(r"[+\u2212]?\d[\d\u202f]*(?:\.\d+)?(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")
DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\dZ)?)?")
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Elements as they nest, texts with the classes around them; a page that is not well formed is refused."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.stack: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.feed(data.decode())
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append((tag, dict(attrs).get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((data, tuple(itertools.chain(*((tag, *classes.split()) for tag, classes in self.stack)))))


def leaves(value: Any, longest: int = 10**9) -> list[float]:
    """Return the numbers in ``value``, without lists of more than ``longest`` numbers: curves hold nearly every number there is."""
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner, longest)]
    if isinstance(value, list):
        curve = len(value) > longest and isinstance(value[0], (int, float))
        return [] if curve else [leaf for inner in value for leaf in leaves(inner, longest)]
    return [float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def derived(report: dict[str, Any]) -> list[float]:
    """What the page counts for itself: gates, bins, folds, shares of a confusion table, the mean of a histogram."""
    found = [float(len(report["gates"])), float(len(report["failed"])), float(len(report["metrics"])), 95.0, 0.0, 1.0, 0.5, 0.6]
    found += [float(len(curve["points"])) for curve in report["calibration"]] + [float(index + 1) for index in range(len(report["folds"]))]
    for table in report["confusion"]:
        total = sum(map(sum, table["counts"]))
        found += [float(total), sum(row[index] for index, row in enumerate(table["counts"])) / total]
        found += [cell / sum(row) for row in table["counts"] for cell in row]
    if report["distribution"]:
        edges, rows = report["distribution"]["edges"], report["distribution"]["rows"]
        found.append(100 * sum((a + b) / 2 * n for a, b, n in zip(edges, edges[1:], rows, strict=False)) / sum(rows))
    found += [float(len(report["features"]) - 60), report["money"]["series"][0]["outcomes"], report["live"]["series"][0]["outcomes"]]
    found.append(float(sum(day["days"] for day in report["days"]["days"])))
    found.append(float(sum(part == 0.0 for part in report["features"].values())))
    return found


def shown(values: list[float]) -> set[str]:
    forms = [*SHOWS, *(lambda value, digits=digits: number(value, digits) for digits in (2, 3, 4, 5))]
    forms += [lambda value: fixed(value, 3), lambda value: percent(value, 2, sign=True), lambda value: bps(value, 2)]
    words = {form(value) for value in values for form in forms}
    return {match[0] for word in words for match in FIGURE.finditer(word)}


@pytest.mark.parametrize("classes", [2, 3])
def test_every_number_that_is_shown_is_in_the_json(classes: int) -> None:
    report = made(classes=classes)
    page = Page(make_page(report))
    plain = json.loads(report.to_bytes())
    tips = shown(leaves(plain) + derived(plain))
    others = shown(derived(plain))
    plain["days"]["days"] = plain["drift"][0]["columns"] = []
    known = shown(leaves(plain, 20)) | others | {fixed(one, 3) for column in report.drift[0].columns for one in (column.psi, column.limit)}
    names = {text for text in re.findall(r'"((?:[^"\\]|\\.)*)"', report.to_bytes().decode()) if re.search(r"\d", text)}
    strange = []
    for words, around in page.texts:
        # ticks are of the drawing, a style is no number; strings of the report are compared as they are
        if {"labels", "style", "facts"} & set(around):
            continue
        bare = DATE.sub("", words)
        for name in sorted(names, key=len, reverse=True):
            bare = bare.replace(name, "")
        allowed = tips if {"title", "desc"} & set(around) else known
        strange += [(figure[0], words) for figure in FIGURE.finditer(bare) if figure[0].rstrip(THIN) not in allowed]
    assert strange == []


def test_a_number_that_is_not_in_the_json_would_be_found() -> None:
    assert "0.123" not in shown([0.5, 7.0])
    assert {"50.0", "0.5", "7"} <= shown([0.5, 7.0])


def test_curves_are_drawn_with_all_their_points() -> None:
    report = made()
    assert report.money is not None
    assert report.days is not None
    page = Page(make_page(report))
    lengths = [len((attributes["points"] or "").split()) for tag, attributes in page.tags if tag == "polyline"]
    assert lengths.count(len(report.money.times)) == 2 * 2 * len(report.money.series)
    bars = sum(tag == "rect" and attributes.get("class") == "pale" for tag, attributes in page.tags)
    assert bars == len(report.days.days)
    dots = sum(tag == "circle" for tag, _ in page.tags)
    assert dots >= len(report.calibration[0].points)


def test_what_users_name_stays_text() -> None:
    report = hostile()
    page = Page(make_page(report))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "iframe", "object", "base", "form", "a"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    whole = "".join(words for words, _ in page.texts)
    assert "<script>alert(1)</script>" in whole
    assert not re.search("[\u202e\x00]", make_page(report).decode())
    assert "\N{REPLACEMENT CHARACTER}gnp.exe\N{REPLACEMENT CHARACTER}" in whole
    assert whole.count(HOSTILE[:20]) > 15


@given(st.text(max_size=40))
def test_any_text_is_one_text_node(words: str) -> None:
    page = Page(el("p", words, title=words).encode())
    assert [tag for tag, _ in page.tags] == ["p"]
    assert "".join(data for data, _ in page.texts).replace("\r\n", "\n") == "".join(
        data for data, _ in Page(f"<p>{text(words)}</p>".encode()).texts
    ).replace("\r\n", "\n")


def test_it_asks_for_nothing_and_forbids_the_rest() -> None:
    page = Page(make_page(made()))
    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "action", "data")]
    assert links == ["data:,"]
    assert "url(" not in make_page(made()).decode()
    assert "@import" not in make_page(made()).decode()
    assert "default-src 'none'" in str(page.tags)


def test_sections_without_data_are_left_out() -> None:
    titles = headings(make_page(bare()))
    assert titles == ["Data", "Lineage"]
    assert Page(make_page(bare())).tags.count(("figure", {})) == 0
    assert "A reduced model: nothing is published." in make_page(bare()).decode()
    assert "Not compared with the live model" in make_page(bare()).decode()


def headings(data: bytes) -> list[str]:
    return [words for words, around in Page(data).texts if around[-2:-1] == ("h2",) or around[-1:] == ("h2",)]


def test_sections_of_a_whole_report() -> None:
    assert headings(make_page(made())) == [
        "Gates",
        "What it would have earned",
        "Against the live model",
        "What costs leave of it",
        "Rules alone against rules with the model",
        "Over time",
        "Long and short",
        "Deepest drawdowns",
        "What its probabilities are worth",
        "What is mistaken for what",
        "Features",
        "Folds",
        "All metrics",
        "Data",
        "What was asked",
        "Lineage",
    ]


def test_every_picture_and_table_has_a_name_and_ids_are_unique() -> None:
    page = Page(make_page(made(classes=3)))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert attributes.get("aria-label") or set((attributes["aria-labelledby"] or "").split()) <= set(ids)
        if attributes.get("role") == "region":
            assert attributes["aria-label"]
    assert dict(page.tags)["html"]["lang"] == "en"


def test_it_stays_small() -> None:
    large = make_page(made(classes=3, rows=5_000, features=300))
    assert len(large) < 400_000
    assert "240 more features are in report.json" in large.decode()


@pytest.mark.parametrize("form", [*SHOWS, number, lambda value: fixed(value, 2)])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(form: Callable[[float | None], str], value: float | None) -> None:
    assert form(value) == "\N{EN DASH}"


def test_a_check_that_could_not_compute_is_shown_with_a_dash() -> None:
    table = Table(name="leakage", title="Leak detector", columns=("", "AUC"), rows=(("shuffled", float("nan")), ("as it is", 0.7)))
    report = replace(made(), tables=(table,))
    assert '<td class="n">\N{EN DASH}</td>' in make_page(report).decode()
    assert json.loads(report.to_bytes())["tables"][0]["rows"] == [["shuffled", None], ["as it is", 0.7]]


def test_a_model_that_loses_money_unasked_is_said_to() -> None:
    report = made()
    losing = replace(report, failed=(), metrics=report.metrics | {"expectancy": -1.5e-4})
    words = "lose 1.50\u202fbps an outcome"
    assert words in make_page(replace(losing, gates=report.gates[:1])).decode()
    assert words not in make_page(losing).decode(), "a gate asks"
    assert "Passed its only gate." in make_page(replace(losing, gates=report.gates[:1])).decode()


@pytest.mark.parametrize(
    ("gates", "failed", "said"), [(0, 0, "No gate was asked."), (1, 1, "Rejected by its only gate."), (5, 1, "1 of 5 gates says no.")]
)
def test_the_verdict_in_words(gates: int, failed: int, said: str) -> None:
    report = made()
    assert said in make_page(replace(report, gates=report.gates[:gates], failed=("why",) * failed)).decode()


def test_the_same_report_is_the_same_page() -> None:
    assert make_page(made()) == make_page(made())


@settings(max_examples=200)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 8), st.sampled_from([1.0, 100.0, 1e4]))
def test_ticks_are_round_few_and_inside(low: float, span: float, most: int, factor: float) -> None:
    scale = linear(low, low + span, most, factor=factor)
    places = [tick.at for tick in scale.ticks]
    assert places == sorted(places)
    assert 2 <= len(places) <= most + 3
    if span > 1e-8 * (abs(low) + 1e-3):
        assert scale.low <= low + 1e-9 * (abs(low) + span)
        assert scale.high >= low + span - 1e-9 * (abs(low) + span)
        assert len({tick.label for tick in scale.ticks}) == len(places)


@settings(max_examples=200)
@given(st.integers(0, 2_000_000_000), st.integers(1, 1_500_000_000), st.integers(40, 130))
def test_times_have_room_for_their_labels_and_no_label_twice(start: int, seconds: int, letters: int) -> None:
    scale = times(start * 1000, (start + seconds) * 1000, letters)
    places = [tick.at for tick in scale.ticks]
    assert places == sorted(set(places))
    assert all(scale.low <= place <= scale.high for place in places)
    assert len({tick.label for tick in scale.ticks}) == len(places)
    for one, other in itertools.pairwise(scale.ticks):
        apart = (scale.place(other.at) - scale.place(one.at)) * letters
        assert apart > max(len(one.label), len(other.label)) + 0.5


def test_labels_have_the_digits_that_they_need() -> None:
    assert [tick.label for tick in linear(0.0, 100.0, 5).ticks] == ["0", "25", "50", "75", "100"]
    assert [tick.label for tick in linear(-0.05, 0.05, 5, factor=100).ticks] == [
        "\N{MINUS SIGN}5.0",
        "\N{MINUS SIGN}2.5",
        "0",
        "2.5",
        "5.0",
    ]
    assert [tick.label for tick in linear(0.0, 3_000.0, 4).ticks] == ["0", "1\u202f000", "2\u202f000", "3\u202f000"]


def test_times_lie_on_days_and_months() -> None:
    def stamp(*date: int) -> int:
        return int(datetime(*date, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]

    assert [tick.label for tick in times(stamp(2024, 1, 8), stamp(2024, 1, 8, 20), 110).ticks][:2] == ["8 Jan 00:00", "8 Jan 06:00"]
    assert [tick.label for tick in times(stamp(2024, 1, 1), stamp(2024, 1, 29), 45).ticks] == [
        "1 Jan",
        "8 Jan",
        "15 Jan",
        "22 Jan",
        "29 Jan",
    ]
    assert times(stamp(2024, 1, 2), stamp(2024, 12, 1), 80).ticks[0].label == "Mar 2024"
    assert [tick.label for tick in times(stamp(2018, 5, 1), stamp(2024, 12, 1), 50).ticks] == [str(year) for year in range(2019, 2025)]


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_hardly_any_outcomes_and_no_trades_at_all(rows: int) -> None:
    t0, p = START + 3_600_000 * np.arange(rows), np.linspace(0.2, 0.8, rows)
    y = np.arange(rows) % 2.0
    idle = backtest(np.zeros(rows), np.full(rows, 0.01), 1e-4)
    whole = replace(
        bare(),
        money=money(t0, t0 + 3_600_000, {MODEL: idle, BASE: backtest(np.ones(rows), np.full(rows, -0.01), 1e-4)}),
        costs=cost_curve({MODEL: idle}, 1e-4, rows),
        calibration=calibration(y, np.column_stack((1 - p, p)), ("no", "yes"), rows),
        confusion=confusions(y, np.column_stack((1 - p, p)), p, ("no", "yes"), 0.4),
        days=days(t0, y, p, 20),
        features={"a": 0.0},
    )
    page = make_page(whole)
    assert "nan" not in page.decode().replace("nance", "")
    assert Page(page).tags
    assert whole.costs is None
    assert (whole.days is None) == (rows == 1)


def test_every_gate_says_what_it_asks_and_on_which_side_it_passes() -> None:
    limits = limits_of(EVERY)
    assert {name.partition(".")[0] for name, _, _ in limits} == set(GATES), "all of them"
    assert {name: side(name) for name, _, _ in limits} == {name: "≥" if floor else "≤" for name, _, floor in limits}
    assert {name for name, _, _ in limits} <= set(ASKS)


def test_a_gate_without_a_live_model_says_so_in_words() -> None:
    gate = GateRecord(name="delta", value=None, threshold=0.05, verdict=Verdict.NO_DATA, message="NoBaseline: there is no live model")
    page = make_page(replace(bare(), gates=(gate,))).decode()
    assert "There is no live model." in page
    assert "NoBaseline" not in page
    assert "≤ 0.05" in page
