"""The report's numbers, against what they are by hand; what cannot be computed is left out, never drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from reports import START, made

from walkforward_trainer.backtest import backtest
from walkforward_trainer.reference import make_reference
from walkforward_trainer.report.answers import calibration, class_names, confusions, days, distribution
from walkforward_trainer.report.breakdown import breakdown, open_at_once
from walkforward_trainer.report.columns import importance, newest_drift
from walkforward_trainer.report.data import Report
from walkforward_trainer.report.money import BASE, MODEL, cost_curve, money
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.backtest import Backtest
    from walkforward_trainer.report.data import Table

DAY = 86_400_000
HOUR = 3_600_000


def test_equity_and_drawdown_are_running_sums() -> None:
    outcome = backtest(np.array([1.0, 1.0, -1.0, 0.0]), np.array([0.02, -0.03, -0.01, 0.5]), 0.001)
    curves = money(START + HOUR * np.arange(4), START + HOUR * np.arange(4) + HOUR, {MODEL: outcome})
    assert curves is not None
    (series,) = curves.series
    assert series.equity == pytest.approx((0.019, -0.012, -0.003, -0.003))
    assert series.drawdown == pytest.approx((0.0, 0.031, 0.022, 0.022))
    assert (series.total, series.max_drawdown, series.traded) == pytest.approx((-0.003, 0.031, 0.75))
    assert curves.times[0] == "2024-01-08T01:00:00Z"


def test_a_loss_from_the_first_outcome_on_is_a_drawdown() -> None:
    outcome = backtest(np.ones(2), np.array([-0.02, 0.01]), 0.0)
    curves = money(START + HOUR * np.arange(2), START + HOUR * np.arange(2) + HOUR, {MODEL: outcome})
    assert curves is not None
    assert curves.series[0].drawdown == pytest.approx((0.02, 0.01))
    assert max(curves.series[0].drawdown) == pytest.approx(outcome.drawdown)


def test_a_long_curve_is_thinned_and_keeps_its_deepest_point() -> None:
    rng = np.random.default_rng(1)
    rows = 50_000
    returns = rng.normal(0, 1e-3, rows)
    returns[31_337] = -0.5
    returns[31_338] = 0.5
    outcome = backtest(np.ones(rows), returns, 0.0)
    curves = money(
        START + HOUR * np.arange(rows),
        START + HOUR * np.arange(rows) + HOUR,
        {MODEL: outcome, BASE: backtest(-np.ones(rows), returns, 0.0)},
    )
    assert curves is not None
    assert len(curves.times) <= 245
    assert max(curves.series[0].drawdown) == pytest.approx(outcome.drawdown)
    assert curves.series[0].equity[-1] == pytest.approx(outcome.net.sum())


def test_the_cost_curve_is_the_backtest_at_every_cost() -> None:
    rng = np.random.default_rng(2)
    position, returns = rng.uniform(-1, 1, 400), rng.normal(2e-4, 1e-3, 400)
    curve = cost_curve({MODEL: backtest(position, returns, 3e-4)}, 3e-4, 100)
    assert curve is not None
    for cost, mean, low, high in zip(curve.costs, curve.expectancy[MODEL], curve.low, curve.high, strict=True):
        again = backtest(position, returns, cost)
        assert mean == pytest.approx(again.expectancy, abs=1e-15)
        assert high - low == pytest.approx(2 * 1.959963984540054 * again.net.std() / 10, rel=1e-9)
    broken = curve.break_even[MODEL]
    assert broken is not None
    assert backtest(position, returns, broken).expectancy == pytest.approx(0.0, abs=1e-15)
    assert curve.costs[0] == 0.0
    assert curve.costs[-1] >= 6e-4


def test_who_never_trades_has_no_cost_curve() -> None:
    assert cost_curve({MODEL: backtest(np.zeros(5), np.ones(5), 1e-4)}, 1e-4, 5) is None
    assert money(np.zeros(0, np.int64), np.zeros(0, np.int64), {}) is None


def test_calibration_counts_every_row_and_its_intervals_hold_what_was_seen() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(3_000)
    y = (rng.random(3_000) < p).astype(np.float64)
    (curve,) = calibration(y, np.column_stack((1 - p, p)), ("no", "yes"), 3_000)
    assert curve.name == "yes"
    assert sum(point.rows for point in curve.points) == 3_000
    assert all(point.low <= point.seen <= point.high for point in curve.points)
    assert sum(point.low <= point.stated <= point.high for point in curve.points) >= 12
    (wider,) = calibration(y, np.column_stack((1 - p, p)), ("no", "yes"), 300)
    assert all(b.high - b.low > a.high - a.low for a, b in zip(curve.points, wider.points, strict=True))


def test_wilsons_interval_is_the_published_one() -> None:
    y = np.array([1.0] * 81 + [0.0] * 182)  # Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662
    (curve,) = calibration(y, np.full((263, 2), 0.5), ("no", "yes"), 263)
    merged = sum(point.seen * point.rows for point in curve.points)
    assert merged == 81
    from walkforward_trainer.report.answers import _wilson

    assert _wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_three_classes_have_a_curve_each_and_their_shares() -> None:
    y, p = np.array([0.0, 1.0, 2.0, 2.0]), np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    names = class_names("Adaptive", 3)
    assert [curve.name for curve in calibration(y, p, names, 4)] == ["down", "neutral", "up"]
    (table,) = confusions(y, p, p[:, 2], names, None)
    assert table.counts == ((1, 0, 0), (1, 0, 0), (0, 0, 2))
    found = distribution(y, p, names)
    assert found is not None
    assert found.actual == (0.25, 0.25, 0.5)
    assert found.predicted == (0.5, 0.0, 0.5)
    assert sum(found.rows) == 4
    assert distribution(y, p[:, :2], ("no", "yes")) is None


def test_two_classes_are_also_counted_as_they_are_decided() -> None:
    y, p = np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.45, 0.9])
    both = np.column_stack((1 - p, p))
    usual, decided = confusions(y, both, p, ("calm", "risky"), 0.4)
    assert usual.counts == ((1, 0), (1, 1))
    assert decided.counts == ((1, 0), (0, 2))
    assert "0.4" in decided.rule
    assert len(confusions(y, both, p, ("calm", "risky"), 0.5)) == 1


def test_names_of_a_plugins_classes() -> None:
    assert class_names("Mine", 2) == ("no", "yes")
    assert class_names("Mine", 3) == ("down", "neutral", "up")


def test_precision_by_day_has_the_mean_of_days() -> None:
    t0 = np.array([0, 1, 2, 3 * 24, 3 * 24 + 1]) * HOUR
    found = days(t0, np.array([1.0, 0.0, 1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.1, 0.5, 0.5]), 2)
    assert found is not None
    assert [(day.start, day.end, day.precision) for day in found.days] == [
        ("1970-01-01", "1970-01-01", 0.5),
        ("1970-01-04", "1970-01-04", 0.5),
    ]
    assert (found.base, found.mean) == (0.6, 0.5)


def test_many_days_are_put_together_in_equal_spans() -> None:
    rng = np.random.default_rng(4)
    t0 = np.sort(np.concatenate((DAY * np.arange(1_000), DAY * np.arange(1_000) + HOUR)))
    hit = (rng.random(2_000) < 0.3).astype(np.float64)
    found = days(t0, hit, rng.random(2_000), 1)
    assert found is not None
    assert len(found.days) <= 120
    assert sum(day.days for day in found.days) == 1_000
    assert {day.days for day in found.days[:-1]} == {9}
    assert sum(day.days * day.precision for day in found.days) / 1_000 == pytest.approx(found.mean)
    assert days(t0[::2], hit[::2], hit[::2], 5) is None, "one row a day leaves nothing to choose"


def test_drift_finds_a_shift_of_the_newest_rows_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (4_000, 2)).astype(np.float32)
    x[-200:, 1] += 3.0
    score = rng.random(4_000)
    (found,) = newest_drift(x, score, make_reference(x, ("still", "moved"), score))
    still, moved, last = found.columns
    assert (still.name, moved.name, last.name) == ("still", "moved", "score")
    assert moved.psi > 1.0
    assert still.psi < still.limit
    assert (found.rows, found.window) == (200, "newest 200 rows")
    assert newest_drift(x[:60], score[:60], make_reference(x[:60], ("still", "moved"), score[:60])) == ()


def test_importance_is_the_mean_share_of_the_models() -> None:
    found = importance(("a", "b", "c"), [np.array([1.0, 3.0, 0.0]), np.array([0.0, 5.0, 5.0]), np.zeros(3)])
    assert list(found) == ["b", "c", "a"]
    assert found == pytest.approx({"a": 0.125, "b": 0.625, "c": 0.25})


@pytest.mark.parametrize("classes", [2, 3])
def test_it_can_be_read_again(classes: int) -> None:
    report = made(classes=classes)
    data = report.to_bytes()
    assert Report.parse(data).to_bytes() == data
    assert json.loads(data)["schema"] == "walkforward.dev/report/v1"
    assert len(data) < 150_000


def outcome(net: list[float], position: list[float] | None = None) -> Backtest:
    taken = np.ones(len(net)) if position is None else np.array(position)
    returns = np.divide(np.array(net), taken, out=np.zeros(len(net)), where=taken != 0)
    return backtest(taken, returns, 0.0)


def tables(
    t0: npt.NDArray[np.int64], model: Backtest, symbol: list[int] | None = None, symbols: tuple[str, ...] = ("A",)
) -> dict[str, Table]:
    of = np.array(symbol or [0] * len(t0), np.int16)
    return {table.name: table for table in breakdown(t0, model, outcome([0.5] * len(t0)), of, symbols)}


def test_parts_of_the_money_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(5)
    t0 = START + HOUR * np.arange(3_000)
    model = outcome(rng.normal(0, 1e-3, 3_000).tolist(), rng.choice([-1.0, 0.0, 1.0], 3_000).tolist())
    symbol = rng.integers(0, 3, 3_000).tolist()
    found = tables(t0, model, symbol, ("A", "B", "C"))
    assert list(found) == ["periods", "sides", "symbols", "drawdowns"]
    for name in ("periods", "symbols"):
        rows = found[name].rows
        assert sum(float(row[1] or 0) for row in rows) == 3_000
        assert sum(float(row[2] or 0) for row in rows) == model.trades
        assert sum(float(row[4] or 0) for row in rows) == pytest.approx(model.net.sum())
    assert sum(float(row[4] or 0) for row in found["sides"].rows) == pytest.approx(model.net.sum()), "who has no position earns nothing"
    assert [row[0] for row in found["sides"].rows] == ["long", "short"]
    assert sum(float(row[5] or 0) for row in found["periods"].rows) == pytest.approx(1_500)
    mean = float(model.net[np.array(symbol) == 1][np.abs(model.position[np.array(symbol) == 1]) > 0].mean())
    assert found["symbols"].rows[1][5] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("days", "unit", "first"),
    [
        (2, "day", "2024-01-08"),
        (24, "day", "2024-01-08"),
        (25, "week from", "2024-01-08"),
        (400, "month", "2024-01"),
        (900, "quarter", "2024 Q1"),
    ],
)
def test_periods_are_of_the_shortest_unit_that_is_readable(days: int, unit: str, first: str) -> None:
    t0 = START + 24 * HOUR * np.arange(days)
    table = tables(t0, outcome([1e-3] * days))["periods"]
    assert table.columns[0] == unit
    assert table.rows[0][0] == first
    assert 2 <= len(table.rows) <= 24
    assert [row[0] for row in table.rows] == sorted(str(row[0]) for row in table.rows)


def test_one_part_is_no_part() -> None:
    assert list(tables(START + HOUR * np.arange(3), outcome([0.1, 0.1, 0.2]))) == []
    assert breakdown(np.zeros(0, np.int64), outcome([]), outcome([]), np.zeros(0, np.int16), ("A",)) == ()


def test_drawdowns_from_high_to_high() -> None:
    net = [-0.1, 0.1, 0.3, -0.2, -0.1, 0.1, 0.3, 0.0, -0.4, 0.1]
    rows = tables(START + HOUR * np.arange(10), outcome(net))["drawdowns"].rows
    stamp = [timestamp(START + HOUR * hour)[:16].replace("T", " ") for hour in range(10)]
    assert [row[:3] for row in rows] == [
        (stamp[7], stamp[8], "not yet"),
        (stamp[2], stamp[4], stamp[6]),
        (stamp[0], stamp[0], stamp[1]),
    ]
    assert [row[3] for row in rows] == [pytest.approx(-0.4), pytest.approx(-0.3), pytest.approx(-0.1)]
    assert [row[4] for row in rows] == [None, 4, 2]


def test_how_many_are_open_at_once() -> None:
    t0 = START + HOUR * np.arange(10)
    assert open_at_once(t0, t0 + HOUR, np.ones(10)) == (1.0, 1), "the next one begins when the one before is over"
    mean, most = open_at_once(t0, t0 + 5 * HOUR, np.ones(10))
    assert (round(mean, 3), most) == (round(50 / 14, 3), 5)
    assert open_at_once(t0, t0 + 5 * HOUR, np.where(np.arange(10) == 4, -1.0, 0.0)) == (1.0, 1)
    assert open_at_once(t0, t0, np.zeros(10)) == (0.0, 0)
    assert open_at_once(t0[:1], t0[:1], np.ones(1)) == (1.0, 1)


def test_days_on_which_nothing_is_chosen_are_counted() -> None:
    t0 = np.concatenate([START + day * DAY + np.arange(rows) * 60_000 for day, rows in enumerate((2, 3, 9))])
    found = days(t0, np.ones(14), np.arange(14.0), 3)
    assert found is not None
    assert found.whole == 2
