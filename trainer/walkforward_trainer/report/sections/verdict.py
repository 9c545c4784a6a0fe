"""What became of the candidate, in the first screen: the verdict, why, and the figures that people ask for first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import Verdict
from walkforward_trainer.report.figures import bps, count, fixed, number, percent, share
from walkforward_trainer.report.markup import EMPTY, Markup, el
from walkforward_trainer.report.sections.gates import MARKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_trainer.report.data import Report

__all__ = ["head"]

EARNINGS: Final = frozenset({"expectancy", "sharpe", "deflatedSharpe", "profitFactor"})
"""Gates that ask what the decisions earn."""


def head(report: Report) -> Markup:
    """Return the title, the verdict and the tiles."""
    line, data = report.lineage, report.data
    span = f"{data['from'][:10]} to {data['to'][:10]}"
    what = f"{line.recipe} on {_symbols(line.symbols)}, {data['timeframe']}, {span}; as of {line.as_of}; run {line.run}"
    return el(
        "header",
        el("h1", el("bdi", line.retrain.partition("/")[2])),
        el("p", el("bdi", what), class_="sub"),
        _verdict(report),
        *(el("p", note, class_="notice") for note in (*_warnings(report), *report.notes)),
        _tiles(report),
    )


def _symbols(symbols: tuple[str, ...]) -> str:
    return ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")


def _verdict(report: Report) -> Markup:
    smoke = " A reduced model: nothing is published." if report.lineage.mode == "Smoke" else ""
    why = el("ul", *(el("li", line) for line in report.failed)) if report.failed else EMPTY
    said = f"{_said(report)}{smoke}"
    kind = Verdict.FAIL if report.failed else Verdict.PASS
    mark = el("span", MARKS[kind], class_=f"mark {kind}", aria_hidden="true")
    return el("div", mark, el("div", el("b", said), why), class_=f"verdict {kind}", role="status")


def _said(report: Report) -> str:
    count, forced = len(report.gates), sum(gate.forced for gate in report.gates)
    if report.failed:
        blocked = len(report.failed)
        return (
            "Rejected by its only gate." if count == 1 else f"Rejected: {blocked} of {count} gates {'says' if blocked == 1 else 'say'} no."
        )
    if all(gate.verdict is Verdict.PASS for gate in report.gates):
        return "Passed its only gate." if count == 1 else f"Passed all {count} gates." if count else "No gate was asked."
    return f"Passed: none of {count} gates forbids publishing{f', {forced} skipped on request' if forced else ''}."


def _warnings(report: Report) -> tuple[str, ...]:
    """Return what a person should know although no gate says it."""
    earned = report.metrics.get("expectancy")
    if report.failed or earned is None or earned >= 0 or any(gate.name in EARNINGS for gate in report.gates):
        return ()
    return (f"Net of costs these decisions lose {bps(-earned)} an outcome on unseen rows, and no gate asks about that.",)


def _tiles(report: Report) -> Markup:
    found = report.metrics
    error = found.get("aucError")
    broken = found.get("breakEvenCost")
    assumed = f"assumed: {bps(report.costs.current)}" if report.costs else ""
    if broken is not None and broken < 0:
        assumed = "loses even without costs"
    tiles = [
        _tile("AUC", found.get("auc"), lambda value: fixed(value, 3), f"± {error:.3f}, standard error" if error is not None else ""),
        _tile("Expectancy", found.get("expectancy"), lambda value: _cost(value, sign=True), "net, per outcome"),
        _tile("Sharpe ratio", found.get("sharpePerOutcome"), lambda value: number(value, 3), "per outcome, not annualised"),
        _tile("Largest drawdown", found.get("maxDrawdown"), percent, "of a constant stake"),
        _tile("Break-even cost", broken, lambda value: _cost(value) if value >= 0 else "none", assumed),
        _tile("Outcomes", found.get("outcomes"), count, f"{share(found.get('traded'))} traded"),
    ]
    return el("dl", *(tile for tile in tiles if tile), class_="tiles")


def _cost(value: float, *, sign: bool = False) -> str:
    """Return basis points with about three digits."""
    return bps(value, 2 if abs(value) < 1e-3 else 1 if abs(value) < 1e-2 else 0, sign=sign)


def _tile(name: str, value: float | None, form: Callable[[float], str], below: str) -> Markup | None:
    if value is None:
        return None
    return el("div", el("dt", name), el("dd", form(value), *((el("div", below, class_="sub"),) if below else ())))
