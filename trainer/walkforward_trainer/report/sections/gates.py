"""The table of gates: what each asks in plain words, value and limit with its side, verdict, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import Verdict
from walkforward_core.offline import NO_BASELINE
from walkforward_trainer.report.figures import bps, fixed, number, share
from walkforward_trainer.report.markup import Markup, el, join
from walkforward_trainer.report.sections.parts import block, cell, figure_cell, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.bundle import GateRecord
    from walkforward_trainer.report.data import Report

__all__ = ["ASKS", "MARKS", "gates", "side"]

MARKS: Final = {Verdict.PASS: "\N{CHECK MARK}", Verdict.FAIL: "\N{MULTIPLICATION X}", Verdict.NO_DATA: "\N{EN DASH}"}
WORDS: Final = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.NO_DATA: "no data"}
CEILINGS: Final = ("distribution.max", "leakage.", "overfitting", "maxDegradation", "delta")
"""Beginnings of the names of gates whose limit is the largest value that passes; all others have a smallest one."""
ASKS: Final = {
    "auc": "How well rows that turn out positive are told from the others: 0.5 is a coin, 1 is perfect.",
    "auc.aboveChance": "How many standard errors the AUC is above a coin's.",
    "precisionAtK": "Share of hits among the highest scores of a day.",
    "accuracy": "Share of rows whose most probable class was right.",
    "f1": "Balance of precision and recall: 1 is perfect.",
    "sharpe": "Mean net return of an outcome over its standard deviation.",
    "deflatedSharpe": "Probability that the Sharpe ratio is no luck, given how many variants were tried.",
    "overfitting": "Probability that the best trial of the search is below the median out of sample.",
    "expectancy": "Mean net return of an outcome.",
    "profitFactor": "What trades won over what trades lost.",
    "winRate": "Share of trades that win, net of costs.",
    "kelly": "Share of the capital that a trade would deserve, cautiously estimated: below 0, none.",
    "distribution.minDownPct": "Share of rows predicted down.",
    "distribution.maxDownPct": "Share of rows predicted down.",
    "distribution.minUpPct": "Share of rows predicted up.",
    "distribution.maxUpPct": "Share of rows predicted up.",
    "distribution.minNeutralPct": "Share of rows predicted neutral.",
    "distribution.maxNeutralPct": "Share of rows predicted neutral.",
    "distribution.minConfMean": "Mean of the largest class probability.",
    "distribution.minPctAboveConf060": "Share of rows whose largest class probability is above 0.60.",
    "distribution.minAlphaMean": "Mean distance between the probabilities of up and down.",
    "distribution.minEligibilityPct": "Share of rows that may be traded: not neutral, sure enough, up and down far enough apart.",
    "leakage.shuffledAuc": "AUC of a model that has learned from shuffled answers: a coin, unless something leaks.",
    "leakage.shiftDrop": "AUC that is lost when features come one label horizon late: much of it means that they know the answer.",
    "leakage.purgeGain": "AUC that is gained without purge and embargo: much of it means that labels reach over.",
    "maxDegradation": "How much of the live model's AUC is lost on the same rows.",
    "delta": "Mean distance between this model's score and the live model's on the same rows.",
}
"""What a gate looks at; a name that is not here speaks for itself."""
FORMS: Final[dict[str, Callable[[float | None], str]]] = {
    **dict.fromkeys(("leakage.shuffledAuc", "leakage.shiftDrop", "leakage.purgeGain"), lambda value: fixed(value, 4)),
    "expectancy": bps,
    "accuracy": share,
    "precisionAtK": share,
    "winRate": share,
    "maxDegradation": share,
    "distribution.minDownPct": share,
    "distribution.maxDownPct": share,
    "distribution.minUpPct": share,
    "distribution.maxUpPct": share,
    "distribution.minNeutralPct": share,
    "distribution.maxNeutralPct": share,
    "distribution.minPctAboveConf060": share,
    "distribution.minEligibilityPct": share,
}
"""How value and limit are written where they are no plain numbers."""


def gates(report: Report) -> Markup | None:
    """Return the table of gates."""
    if not report.gates:
        return None
    rows = [_gate(gate) for gate in report.gates]
    grid = table(("gate", "verdict", "value", "limit", "what it asks, and what to do"), rows, name="Gates", kind="stack gates", left=(1, 4))
    return block("Gates", grid, lead="Judged on rows that the scoring model has not seen, from the bytes that are shipped.")


def _gate(gate: GateRecord) -> tuple[Markup, ...]:
    form = FORMS.get(gate.name, number)
    words = f"{MARKS[gate.verdict]} {WORDS[gate.verdict]}{', skipped' if gate.forced else ''}"
    asks = el("div", ASKS[gate.name], class_="asks") if gate.name in ASKS else Markup()
    remedy = (el("div", f"{gate.remedy[:1].upper()}{gate.remedy[1:]}."),) if gate.remedy else ()
    return (
        el("th", gate.name, scope="row"),
        cell(el("span", words, class_=f"pill {gate.verdict}")),
        figure_cell(form(gate.value), "value"),
        figure_cell("" if gate.threshold is None else f"{side(gate.name)} {form(gate.threshold)}", "limit"),
        cell(join(asks, *_said(gate), *remedy), "why"),
    )


def side(name: str) -> str:
    """Return on which side of its limit a gate passes.

    >>> side("auc"), side("distribution.maxUpPct")
    ('≥', '≤')
    """
    return "\N{LESS-THAN OR EQUAL TO}" if name.startswith(CEILINGS) else "\N{GREATER-THAN OR EQUAL TO}"


def _said(gate: GateRecord) -> tuple[Markup, ...]:
    """Return the gate's message, unless it only repeats value and limit; without the word that is for programs."""
    if gate.value is not None and gate.message.startswith((f"{gate.value:.4g} ", "relative loss ")):
        return ()
    message = gate.message.removeprefix(f"{NO_BASELINE}: ")
    return (el("div", f"{message[:1].upper()}{message[1:]}."),)
