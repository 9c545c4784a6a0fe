"""Equity, drawdown and costs: what the decisions would have earned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_trainer.report.figures import bps, count, date_of, number, percent, share
from walkforward_trainer.report.markup import Markup, el
from walkforward_trainer.report.scale import date_title, linear, times
from walkforward_trainer.report.sections.parts import NAMES, STYLES, block, figure_cell, table
from walkforward_trainer.report.svg import Chart, Size, figure, legend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from walkforward_trainer.report.data import CostCurve, Money, Report, Series

__all__ = ["costs", "live", "money"]

WIDE, NARROW, HALF = Size(940, 280), Size(380, 250), Size(440, 270)
WIDE_LOW, NARROW_LOW = Size(940, 170), Size(380, 170)
TIPS = 48
STAKE = "Net of costs, for a constant stake: every decision is a round trip of its own over the horizon."


def money(report: Report) -> Markup | None:
    """Return equity and drawdown beside the base rule's."""
    if report.money is None:
        return None
    return block("What it would have earned", *_curves(report.money, "money"), lead=f"{STAKE} {_open(report.money)}".strip())


def live(report: Report) -> Markup | None:
    """Return the same against the live model, on rows that neither has seen."""
    if report.live is None:
        return None
    rows = report.live.series[0].outcomes
    lead = f"On the {count(rows)} rows after the live model's data and the embargo, which neither model has learned from."
    return block("Against the live model", *_curves(report.live, "live"), lead=lead)


def costs(report: Report) -> Markup | None:
    """Return what is left of the edge by the cost of a round trip."""
    curve = report.costs
    if curve is None:
        return None
    parts = [_cost_chart(curve, size, name) for size, name in ((WIDE, "wide"), (NARROW, "narrow"))]
    lines = legend([(STYLES[name], NAMES[name]) for name in curve.expectancy])
    note = (
        "Shaded: 95 % interval of the model's line, counting only outcomes that do not overlap. Where a line crosses zero nothing is left."
    )
    return block("What costs leave of it", figure("Mean net return of an outcome by the cost of a round trip", lines, *parts, note=note))


def _open(curves: Money) -> str:
    """Say how many stakes are at work: a sum of round trips that overlap is no return on one of them."""
    if curves.open_most < 2:
        return ""
    mean, most = number(curves.open_mean, 3), count(curves.open_most)
    return f"{mean} of them are open at once on average, {most} at most: for a return on the capital at work, divide by as many stakes."


def _curves(curves: Money, name: str) -> tuple[Markup, ...]:
    lines = legend([(STYLES[series.name], NAMES[series.name]) for series in curves.series])
    equity = [_equity(curves, size, f"{name}-equity-{kind}", kind) for size, kind in ((WIDE, "wide"), (NARROW, "narrow"))]
    below = [_drawdown(curves, size, f"{name}-drawdown-{kind}", kind) for size, kind in ((WIDE_LOW, "wide"), (NARROW_LOW, "narrow"))]
    return (
        figure("Sum of net returns", lines, *equity),
        figure("Drawdown: distance below the highest point so far", *below),
        _outcomes(curves.series, name),
    )


def _equity(curves: Money, size: Size, name: str, kind: str) -> Markup:
    values = [value for series in curves.series for value in series.equity]
    says = "; ".join(f"{NAMES[series.name]} ends at {percent(series.total, sign=True)}" for series in curves.series)
    chart, stamps = _frame(curves, size, (min(0.0, *values), max(0.0, *values)), "% of the stake")
    marks = [chart.line(stamps, series.equity, STYLES[series.name]) for series in reversed(curves.series)]
    return chart.draw([*marks, _tips(chart, curves, stamps)], title="Sum of net returns over time", says=says, name=name, kind=kind)


def _drawdown(curves: Money, size: Size, name: str, kind: str) -> Markup:
    deepest = max(value for series in curves.series for value in series.drawdown)
    chart, stamps = _frame(curves, size, (-deepest, 0.0), "% of the stake", most=4)
    first, *others = curves.series
    down = [-value for value in first.drawdown]
    marks = [chart.area(stamps, down, [0.0] * len(down), "model")]
    marks += [chart.line(stamps, [-value for value in series.drawdown], STYLES[series.name]) for series in (*reversed(others), first)]
    says = "; ".join(f"{NAMES[series.name]} at most {percent(series.max_drawdown)}" for series in curves.series)
    return chart.draw([*marks, _tips(chart, curves, stamps)], title="Drawdown over time", says=says, name=name, kind=kind)


def _frame(curves: Money, size: Size, span: tuple[float, float], unit: str, most: int = 6) -> tuple[Chart, list[float]]:
    stamps = [date_of(stamp).timestamp() * 1000 for stamp in curves.times]
    x = times(int(stamps[0]), int(stamps[-1]), size.letters)
    chart = Chart(size, x, linear(*span, most, factor=100), date_title(x, curves.times[0], curves.times[-1]), unit)
    return chart, stamps


def _tips(chart: Chart, curves: Money, stamps: Sequence[float]) -> Markup:
    shown = sorted({round(index * (len(stamps) - 1) / (TIPS - 1)) for index in range(TIPS)}) if len(stamps) > 1 else [0]
    words = [
        f"{curves.times[at][:16].replace('T', ' ')} UTC\n"
        + "\n".join(
            f"{NAMES[series.name]}: {percent(series.equity[at], sign=True)}, drawdown {percent(series.drawdown[at])}"
            for series in curves.series
        )
        for at in shown
    ]
    return chart.tips([stamps[at] for at in shown], words)


def _outcomes(series: Sequence[Series], name: str) -> Markup:
    rows: list[tuple[str, Callable[[Series], str]]] = [
        ("sum of net returns", lambda one: percent(one.total, sign=True)),
        ("mean net return of an outcome", lambda one: bps(one.expectancy, sign=True)),
        ("Sharpe ratio of an outcome", lambda one: number(one.sharpe, 3)),
        ("largest drawdown", lambda one: percent(one.max_drawdown)),
        ("outcomes traded", lambda one: share(one.traded)),
        ("trades that win", lambda one: share(one.hit_rate)),
        ("profit factor", lambda one: number(one.profit_factor, 3)),
        ("break-even cost of a round trip", lambda one: bps(one.break_even)),
    ]
    body = [(el("th", words, scope="row"), *(figure_cell(form(one), NAMES[one.name]) for one in series)) for words, form in rows]
    return table(("", *(NAMES[one.name] for one in series)), body, name=f"Outcomes, {name}", kind="cards" if len(series) > 2 else "")


def _cost_chart(curve: CostCurve, size: Size, kind: str) -> Markup:
    values = [*(value for line in curve.expectancy.values() for value in line), *curve.low, *curve.high, 0.0]
    x = linear(0.0, curve.costs[-1], 7 if kind == "wide" else 4, factor=1e4, loose=False)
    chart = Chart(size, x, linear(min(values), max(values), 6, factor=1e4), "round trip, bps", "mean net return, bps")
    marks = [chart.area(curve.costs, curve.low, curve.high, "model")]
    marks += [chart.line(curve.costs, line, STYLES[name]) for name, line in reversed(curve.expectancy.items())]
    # every line falls: the corners at the bottom left and at the top right are free
    marks += [chart.upright(curve.current, "mark"), chart.note(curve.current, chart.y.low, f"assumed: {bps(curve.current)}", above=7)]
    said = [f"{NAMES[name]} breaks even at {bps(value)}" for name, value in curve.break_even.items() if value is not None]
    first = next(iter(curve.break_even.values()))
    if first is not None and 0 <= first <= curve.costs[-1]:
        marks += [
            chart.dot(first, 0.0, 4.5, "model", f"break-even: {bps(first)}"),
            chart.note(first, 0.0, f"break-even: {bps(first)}", above=10)
            if chart.has_room(first, f"break-even: {bps(first)}")
            else chart.note(chart.x.high, chart.y.high, f"break-even: {bps(first)}", above=-13),
        ]
    return chart.draw(
        marks, title="Mean net return by cost", says="; ".join(said) or "no line breaks even", name=f"costs-{kind}", kind=kind
    )
