"""``report.html``: the report as one page that needs nothing else, no script, no font, no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from walkforward_trainer.report.document import Report

__all__ = ["make_page"]

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.3rem 0}small{color:#5b6675}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e3e7ec;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.Pass{color:#0a7d3c}.Fail{color:#b3261e;font-weight:600}.NoData{color:#8a6100}
svg{width:100%;height:auto;background:#f7f9fb;border-radius:6px}.bar{background:#2f6fb0;height:.7rem;display:inline-block}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dfe5ec}th,td{border-color:#2b333d}svg{background:#1b2129}.Fail{color:#ff7b72}
.Pass{color:#4cc38a}.NoData{color:#e3b341}small{color:#93a0ae}}
"""
MODEL_COLOUR: Final = "#2f6fb0"
BASE_COLOUR: Final = "#9aa5b1"


def make_page(report: Report, title: str) -> bytes:
    """Return the page as UTF-8."""
    data = report.data
    verdict = "rejected" if report.failed else "passed its gates"
    parts = [
        f"<h1>{escape(title)}: {verdict}</h1>",
        f"<small>{escape(' '.join((data['symbol'], data['timeframe'])))}, as of {data['asOf']}, {data['from']} to {data['to']}</small>",
        *(f"<p class=Fail>{escape(line)}</p>" for line in report.failed),
        *(f"<p>{escape(line)}</p>" for line in report.notes),
        _section("Gates", _gates(report.gates)),
        _section("Equity, net of costs, constant stake", _equity(report) + _legend()),
        _section("Outcomes", _compare(report.backtest)),
        _section("Metrics, on rows that the scoring model has not seen", _pairs(report.metrics)),
        _section("Folds", _folds(report.folds)),
        _section("Calibration: stated probability against what happened", _calibration(report.calibration)),
        _section("Features, by share of the splits", _bars(report.features)),
        _section("Data", _pairs(_flat(data))),
        _section("What was asked", _pairs(_flat(report.question))),
    ]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n".encode()


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _text(value: object, kind: str = "") -> str:
    return f"<td class='{kind}'>{escape(str(value))}</td>"


def _number(value: object) -> str:
    shown = "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
    return f"<td class=n>{escape(shown)}</td>"


def _gates(gates: Sequence[Any]) -> str:
    rows = (
        [
            _text(gate.name),
            _text(f"{gate.verdict}{' (skipped)' if gate.forced else ''}", gate.verdict),
            _number(gate.value),
            _number(gate.threshold),
            _text(f"{gate.message}. {gate.remedy}".rstrip(". ")),
        ]
        for gate in gates
    )
    return _table(("gate", "verdict", "value", "limit", "why, and what to do"), rows)


def _compare(backtest: Mapping[str, Mapping[str, float]]) -> str:
    names = list(backtest)
    rows = [[_text(key), *(_number(backtest[name].get(key)) for name in names)] for key in backtest[names[0]]]
    return _table(["", *names], rows)


def _folds(folds: Sequence[Mapping[str, Any]]) -> str:
    return _table(list(folds[0]), ([_number(value) for value in fold.values()] for fold in folds)) if folds else ""


def _pairs(values: Mapping[str, Any]) -> str:
    return _table(("", ""), ([_text(name), _number(value)] for name, value in values.items()))


def _bars(values: Mapping[str, float]) -> str:
    top = max(values.values(), default=0.0) or 1.0
    rows = (
        [_text(name), _number(share), f"<td style='width:55%'><span class=bar style='width:{100 * share / top:.1f}%'></span></td>"]
        for name, share in values.items()
    )
    return _table(("feature", "share", ""), rows)


def _equity(report: Report) -> str:
    curves = ((report.equity["baseRule"], BASE_COLOUR), (report.equity["model"], MODEL_COLOUR))
    values = [float(value) for curve, _ in curves for value in curve] + [0.0]
    low, high = min(values), max(values)
    lines = "".join(_line(list(range(len(curve))), [float(v) for v in curve], (low, high), colour) for curve, colour in curves)
    return f"<svg viewBox='0 0 800 220' role=img aria-label='equity'>{lines}</svg><small>{low:+.4f} to {high:+.4f}</small>"


def _legend() -> str:
    return f"<p><span style='color:{MODEL_COLOUR}'>■</span> with the model <span style='color:{BASE_COLOUR}'>■</span> base rule alone</p>"


def _calibration(points: Sequence[tuple[float, float, int]]) -> str:
    low, high = 0.0, max([1e-9, *(max(stated, seen) for stated, seen, _ in points)])
    diagonal = _line([low, high], [low, high], (low, high), BASE_COLOUR)
    dots = "".join(
        f"<circle cx='{10 + 780 * stated / high:.1f}' cy='{210 - 200 * seen / high:.1f}' r=4 fill='{MODEL_COLOUR}'/>"
        for stated, seen, _ in points
    )
    return f"<svg viewBox='0 0 800 220' role=img aria-label='calibration'>{diagonal}{dots}</svg><small>0 to {high:.3f} on both axes</small>"


def _line(xs: Sequence[float], ys: Sequence[float], span: tuple[float, float], colour: str) -> str:
    if not xs:
        return ""
    width, height = (xs[-1] - xs[0]) or 1.0, (span[1] - span[0]) or 1.0
    points = " ".join(f"{10 + 780 * (x - xs[0]) / width:.1f},{210 - 200 * (y - span[0]) / height:.1f}" for x, y in zip(xs, ys, strict=True))
    return f"<polyline points='{points}' fill=none stroke='{colour}' stroke-width=2 />"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted names."""
    out: dict[str, Any] = {}
    for key, inner in value.items():
        plain = msgspec.to_builtins(inner)
        if isinstance(plain, dict):
            out.update(_flat(plain, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = ", ".join(map(str, plain)) if isinstance(plain, (list, tuple)) else plain
    return out
