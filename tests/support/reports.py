"""Reports of runs that never were, from the report's own builders: two classes, three, trades, hostile names, next to nothing."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from msgspec.structs import replace

from walkforward_core.bundle import Baseline, GateRecord, Verdict
from walkforward_core.offline import blocking, explain
from walkforward_trainer.backtest import backtest
from walkforward_trainer.reference import make_reference
from walkforward_trainer.report.answers import calibration, class_names, confusions, days, distribution
from walkforward_trainer.report.breakdown import breakdown
from walkforward_trainer.report.columns import importance, newest_drift
from walkforward_trainer.report.data import Fold, Lineage, Report, Table
from walkforward_trainer.report.money import BASE, CANDIDATE, LIVE, MODEL, cost_curve, money
from walkforward_trainer.specfile import instant, timestamp

HOUR = 3_600_000
START = instant("2024-01-08T01:00:00Z", "start")
ROUND_TRIP = 2e-4
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202egnp.exe\x00" + "w" * 200
FILTER = Table(
    name="filter",
    title="Rules alone against rules with the model",
    note="The same occasions; the model may only forbid a trade that the rule would make.",
    columns=("", "rules alone", "rules with the model"),
    rows=(
        ("trades", 1900.0, 1234.0),
        ("trades that win", 0.4821, 0.5217),
        ("mean net return", -1.5e-5, 2.5e-5),
        ("drawdown", -0.0912, None),
    ),
    units=("", "share", "bps", "share"),
)
FORENSIC = Table(
    name="forensic",
    title="Forensic report",
    note="Five causes for which a trained model may be of no use.",
    columns=("cause", "found", "numbers", "what to do", "value"),
    rows=(
        ("ClassImbalance", "no", "classes 45% / 10% / 46%, asked for 40% / 20% / 40%", "", 0.05),
        ("OneMethodology", "yes", "the recipe has no numbers of its own for 5m", "use a timeframe that the recipe has numbers for", None),
    ),
)
CLASSES = Table(
    name="classes",
    title="Classes",
    columns=("class", "share of answers", "share of predictions", "standard deviation"),
    rows=(("down", 0.43, 0.45, 0.4306), ("neutral", 0.0955, 0.162, 0.1974), ("up", 0.475, 0.387, 0.4199)),
    column_units=("", "share", "share", ""),
)


def gate(name: str, value: float | None, threshold: float, verdict: Verdict, **more: Any) -> GateRecord:
    sign = ">=" if verdict is Verdict.PASS else "<"
    message = f"{value:.4g} {sign} {threshold:.4g}" if value is not None else "the metric could not be computed; no evidence is not a pass"
    remedy = "" if verdict is Verdict.PASS else "add features that know something about the target, or ask for a target that can be known"
    return GateRecord(name=name, value=value, threshold=threshold, verdict=verdict, message=message, remedy=remedy, **more)


@cache
def made(*, classes: int = 2, rows: int = 1_900, features: int = 18, seed: int = 3, bars: bool = True, edge: float = 2e-4) -> Report:
    """Return the report of a candidate that knows a little, against a live model that knows less."""
    rng = np.random.default_rng(seed)
    kind = {2: "Risk" if bars else "BadTrade", 3: "Adaptive"}[classes]
    names = class_names(kind, classes)
    gap = HOUR if bars else 5 * HOUR
    t0 = START + np.cumsum(rng.integers(1, 3, rows)) * gap if not bars else START + np.arange(rows) * gap
    t1 = t0 + 5 * gap
    raw = rng.normal(0, 1, (rows, classes))
    y = rng.choice(classes, rows, p=[0.76, 0.24] if classes == 2 else [0.35, 0.3, 0.35]).astype(np.float64)
    raw[np.arange(rows), y.astype(np.intp)] += 1.1
    p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    hit = (y == classes - 1).astype(np.float64)
    returns = rng.standard_t(4, rows) * 1e-3 + edge * (hit - 0.3)
    base = np.sign(rng.normal(0.1, 1, rows))
    taken = np.where(p[:, -1] > 0.4, 0.0, base) if classes == 2 else np.sign(p[:, 2] - p[:, 0]) * (p.max(axis=1) > 0.5)
    theirs = np.where(rng.random(rows) < 0.4, 0.0, base)
    outcomes = {MODEL: backtest(taken, returns + 3e-4 * taken, ROUND_TRIP), BASE: backtest(base, returns, ROUND_TRIP)}
    late = slice(rows * 2 // 3, rows)
    live = {
        CANDIDATE: backtest(taken[late], returns[late] + 3e-4 * taken[late], ROUND_TRIP),
        LIVE: backtest(theirs[late], returns[late], ROUND_TRIP),
        BASE: backtest(base[late], returns[late], ROUND_TRIP),
    }
    x = np.cumsum(rng.normal(0, 1, (rows, features)), axis=0).astype(np.float32) * 0.02 + rng.normal(0, 1, (rows, features)).astype(
        np.float32
    )
    columns = tuple(f"feature_{index:02d}" for index in range(features))
    score = p[:, -1].astype(np.float32).astype(np.float64)
    independent = rows // 5
    gates = (
        gate("auc", 0.731, 0.62, Verdict.PASS),
        gate("precisionAtK", 0.412, 0.58, Verdict.FAIL),
        gate("deflatedSharpe", None, 0.95, Verdict.NO_DATA),
        gate("expectancy", -1.2e-5, 0.0, Verdict.FAIL, forced=True),
        GateRecord(name="maxDegradation", value=0.021, threshold=0.1, verdict=Verdict.PASS, message="relative loss 0.021 <= 0.1"),
    )
    return Report(
        lineage=Lineage(
            retrain="demo/fx",
            run="fx-1a2b3c4d",
            recipe="ohlcv",
            mode="Full",
            data="s3://bars/eurusd/",
            digest="sha256:" + "ab" * 32,
            as_of=timestamp(int(t0[-1])),
            symbols=("EURUSD",),
            config="sha256:" + "cd" * 32,
            baseline=Baseline(uri="s3://models/fx/20240101T000000Z-0a1b2c3d/", digest="sha256:" + "ef" * 32),
            trials=37,
            seeds={"model": 7},
            libraries={"python": "3.11.9", "numpy": "2.3.1", "onnxruntime": "1.24.0"},
        ),
        question={"target": {"kind": kind, "horizonBars": 5}, "features": columns, "roundTrip": ROUND_TRIP},
        data={
            "symbols": ("EURUSD",),
            "timeframe": "1h",
            "asOf": timestamp(int(t0[-1])),
            "from": timestamp(int(t0[0])),
            "to": timestamp(int(t0[-1])),
            "rows": rows,
            "labelled": rows,
        },
        gates=gates,
        failed=tuple(explain(record) for record in blocking(gates)),
        notes=(),
        metrics={"auc": 0.731, "aucError": 0.021, "expectancy": outcomes[MODEL].expectancy, "sharpePerOutcome": outcomes[MODEL].sharpe}
        | {"maxDrawdown": outcomes[MODEL].drawdown, "breakEvenCost": outcomes[MODEL].break_even, "outcomes": float(rows)}
        | {"traded": outcomes[MODEL].traded},
        folds=tuple(
            Fold(
                from_=timestamp(int(t0[part[0]])),
                to=timestamp(int(t0[part[-1]])),
                train=rows - len(part) - 24,
                test=len(part),
                purged=10,
                embargoed=14,
                auc=0.66 + 0.03 * index if index != 3 else None,
            )
            for index, part in enumerate(np.array_split(np.arange(rows), 5))
        ),
        money=money(t0, t1, outcomes),
        live=money(t0[late], t1[late], live),
        costs=cost_curve(outcomes, ROUND_TRIP, independent),
        calibration=calibration(y, p, names, independent),
        confusion=confusions(y, p, p[:, -1], names, 0.4 if classes == 2 else None),
        distribution=distribution(y, p, names),
        days=days(t0, hit, p[:, -1], 5),
        features=importance(columns, [rng.random(features) ** 3, rng.random(features) ** 2]),
        drift=newest_drift(x, score, make_reference(x, columns, score)),
        tables=(
            *((FILTER,) if classes == 2 else (FORENSIC, CLASSES)),
            *breakdown(t0, outcomes[MODEL], outcomes[BASE], np.zeros(rows, np.int16), ("EURUSD",)),
        ),
    )


def hostile() -> Report:
    """Return a report in which everything that a user can name attacks the page."""
    report = made(rows=300, features=5)
    line = replace(
        report.lineage, retrain=f"demo/{HOSTILE}", symbols=(HOSTILE, "EURUSD"), data=f"s3://{HOSTILE}", libraries={HOSTILE: HOSTILE}
    )
    table = Table(name=HOSTILE, title=HOSTILE, note=HOSTILE, columns=(HOSTILE, HOSTILE), rows=((HOSTILE, HOSTILE), (HOSTILE, 1.0)))
    drift = tuple(
        replace(one, columns=tuple(replace(column, name=HOSTILE) for column in one.columns[:1]), window=HOSTILE) for one in report.drift
    )
    return replace(
        report,
        lineage=line,
        question={HOSTILE: HOSTILE, "features": (HOSTILE,)},
        data=report.data | {"timeframe": HOSTILE, HOSTILE: HOSTILE},
        gates=(replace(report.gates[1], name=HOSTILE, message=HOSTILE, remedy=HOSTILE), *report.gates),
        failed=(HOSTILE,),
        notes=(HOSTILE,),
        features={HOSTILE: 0.6} | report.features,
        drift=drift,
        tables=(table,),
        calibration=tuple(replace(one, name=HOSTILE) for one in report.calibration),
        confusion=tuple(replace(one, rule=HOSTILE, labels=(HOSTILE, HOSTILE)) for one in report.confusion),
    )


def bare() -> Report:
    """Return a report that has found next to nothing."""
    report = made(rows=300, features=3)
    return Report(
        lineage=replace(report.lineage, baseline=None, mode="Smoke"),
        question={},
        data=report.data,
        gates=(),
        failed=(),
        notes=("Not compared with the live model: 12 rows lie after it.",),
        metrics={},
        folds=(),
    )
