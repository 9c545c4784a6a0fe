"""What the probabilities are worth: calibration, precision by day, confusion, and the shape of three classes' predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.figures import count, date_of, number, share
from walkforward_trainer.report.markup import Markup, el
from walkforward_trainer.report.scale import Scale, Tick, date_title, linear, times
from walkforward_trainer.report.sections.parts import block, table
from walkforward_trainer.report.svg import Chart, Size, figure, legend

if TYPE_CHECKING:
    from walkforward_trainer.report.data import Calibration, Confusion, Days, Distribution, Report

__all__ = ["classes", "probabilities"]

HALF: Final = Size(440, 300)
DAY_MS: Final = 86_400_000


def probabilities(report: Report) -> Markup | None:
    """Return calibration and precision@k by day."""
    charts = [_calibration(curve, index) for index, curve in enumerate(report.calibration)]
    if report.days is not None:
        charts.append(_days(report.days))
    if not charts:
        return None
    return block("What its probabilities are worth", el("div", *charts, class_="grid"))


def classes(report: Report) -> Markup | None:
    """Return the confusion tables and, of three classes, what the predictions look like."""
    parts = [_confusion(one) for one in report.confusion]
    if report.distribution is not None:
        parts += [_shares(report.distribution), _confidence(report.distribution)]
    return block("What is mistaken for what", el("div", *parts, class_="grid")) if parts else None


def _calibration(curve: Calibration, index: int) -> Markup:
    top = max((max(point.stated, point.seen, point.high) for point in curve.points), default=1.0)
    scale = linear(0.0, min(top, 1.0), 6, factor=100)
    chart = Chart(HALF, scale, scale, f"stated probability of “{curve.name}”, %", "seen, %")
    ends = (scale.low, scale.high)
    most = max((point.rows for point in curve.points), default=1)
    marks = [chart.line(ends, ends, "base")]
    for point in curve.points:
        words = (
            f"stated {share(point.stated)}, seen {share(point.seen)} ({share(point.low)} to {share(point.high)}), {count(point.rows)} rows"
        )
        marks.append(chart.line((point.stated, point.stated), (point.low, point.high), "whisker"))
        marks.append(chart.dot(point.stated, point.seen, 2.0 + 2.5 * (point.rows / most) ** 0.5, "model", words))
    says = "; ".join(f"{share(point.stated)} stated, {share(point.seen)} seen, {count(point.rows)} rows" for point in curve.points)
    rows = sorted({point.rows for point in curve.points})
    size = f"{count(rows[0])} to {count(rows[-1])}" if len(rows) > 1 else count(rows[0]) if rows else "no"
    note = f"{len(curve.points)} bins of {size} rows each, with 95 % intervals. On the dashed line, what is stated happens."
    return figure(
        f"Calibration of “{curve.name}”", chart.draw(marks, title="Calibration", says=says, name=f"calibration-{index}"), note=note
    )


def _days(days: Days) -> Markup:
    starts = [date_of(f"{day.start}T00:00:00Z").timestamp() * 1000 for day in days.days]
    ends = [date_of(f"{day.end}T00:00:00Z").timestamp() * 1000 + DAY_MS for day in days.days]
    x = times(int(starts[0]), int(ends[-1]), HALF.letters)
    y = linear(0.0, max(1e-9, days.base, *(day.precision for day in days.days)), 6, factor=100)
    chart = Chart(HALF, x, y, date_title(x, days.days[0].start, days.days[-1].end), "precision, %")
    marks = []
    for day, start, end in zip(days.days, starts, ends, strict=True):
        when = day.start if day.days == 1 else f"{day.start} to {day.end}, {day.days} days"
        gap = (end - start) * 0.12
        marks.append(chart.bar((start + gap, end - gap), (0.0, day.precision), "pale", f"{when}: {share(day.precision)}"))
    marks += [chart.level(days.mean, "model"), chart.level(days.base, "base")]
    says = f"mean {share(days.mean)}; all rows {share(days.base)}"
    lines = legend([("model", f"mean {share(days.mean)}"), ("base", f"all rows {share(days.base)}")])
    picture = chart.draw(marks, title=f"Precision at {days.k} by day", says=says, name="days")
    note = (
        f"Share of hits among the {days.k} highest scores of a day; a day with fewer rows counts with those it has. {_chosen(days)}".strip()
    )
    return figure(f"Precision among the {days.k} highest of a day", lines, picture, note=note)


def _chosen(days: Days) -> str:
    """Say on how many days nothing was chosen: there precision is the share of hits, whatever the model says."""
    total = sum(day.days for day in days.days)
    if not days.whole:
        return ""
    much = "; a smaller k would say more" if 2 * days.whole > total else ""
    return f"On {count(days.whole)} of {count(total)} days all rows count, since there are no more than {days.k}{much}."


def _confusion(one: Confusion) -> Markup:
    rows = []
    for label, counts in zip(one.labels, one.counts, strict=True):
        total = sum(counts) or 1
        cells = [_heat(value, value / total) for value in counts]
        rows.append((el("th", f"was {label}", scope="row"), *cells))
    hits = sum(one.counts[index][index] for index in range(len(one.labels)))
    total = sum(map(sum, one.counts)) or 1
    grid = table(("", *(f"said {label}" for label in one.labels)), rows, name=f"Confusion, {one.rule}", kind="heat")
    return figure(f"By {one.rule}", grid, note=f"{share(hits / total)} of {count(total)} rows right. Shares are of what was.")


def _heat(value: int, part: float) -> Markup:
    colour = f"background:rgba(var(--heat),{0.05 + 0.4 * part:.2f})"
    return el("td", el("b", count(value)), el("small", share(part)), class_="n", style=colour)


def _shares(found: Distribution) -> Markup:
    groups = (("was", found.actual, "quiet"), ("said", found.predicted, "fill"), ("mean p", found.mean_probability, "pale"))
    slots = Scale(0.0, float(len(found.labels)), tuple(Tick(index + 0.5, label) for index, label in enumerate(found.labels)))
    top = max(value for _, values, _ in groups for value in values)
    chart = Chart(HALF, slots, linear(0.0, top, 6, factor=100), "class", "share of rows, %")
    marks = []
    for place, (words, values, kind) in enumerate(groups):
        for index, value in enumerate(values):
            left = index + 0.16 + place * 0.24
            marks.append(chart.bar((left, left + 0.2), (0.0, value), kind, f"{found.labels[index]}, {words}: {share(value)}"))
    said = "; ".join(
        f"{label}: was {share(was)}, said {share(did)}" for label, was, did in zip(found.labels, found.actual, found.predicted, strict=True)
    )
    note = "Left to right in each class: what was, what was said, mean probability."
    return figure("Shares of the classes", chart.draw(marks, title="Shares of the classes", says=said, name="shares"), note=note)


def _confidence(found: Distribution) -> Markup:
    total = sum(found.rows) or 1
    x = linear(found.edges[0], found.edges[-1], 6, factor=100, loose=False)
    chart = Chart(HALF, x, linear(0.0, max(found.rows) / total, 5, factor=100), "largest class probability, %", "share of rows, %")
    marks = []
    for low, high, rows in zip(found.edges, found.edges[1:], found.rows, strict=False):
        gap = (high - low) * 0.06
        marks.append(chart.bar((low + gap, high - gap), (0.0, rows / total), "fill", f"{share(low)} to {share(high)}: {count(rows)} rows"))
    middle = sum((low + high) / 2 * rows for low, high, rows in zip(found.edges, found.edges[1:], found.rows, strict=False)) / total
    says = f"mean about {number(100 * middle, 3)} %"
    return figure("How sure it is", chart.draw(marks, title="Confidence", says=says, name="confidence"))
