"""The forensic report: why a model that looks trained may be of no use (check ``forensic`` of a recipe).

Symptoms are what such a model looks like (it says neutral, or up, to everything; it says the same to every row; it gives no signal). Five
causes are looked for by name, each with the numbers that speak for or against it, and what to do. They explain; gates decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.offline import LeakageGate
from walkforward_core.offline import AUC, EXPECTANCY, LEAKAGE
from walkforward_trainer.metrics import classes
from walkforward_trainer.report.data import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.plan import Plan

__all__ = ["Cause", "Finding", "Sign", "Symptom", "examine", "forensic_notes", "forensic_tables", "symptoms"]

RARE: Final = 0.10
"""Share of a class below which it is rare."""
BIAS: Final = 0.20
"""Points by which predictions of a class may differ from what the fit was asked for."""
MISCALIBRATED: Final = 0.10
FLAT: Final = 0.01
"""Standard deviation of a probability below which a model says the same to every row."""
ONE: Final = 0.9
"""Share of the predictions that are of one class from which a model says nothing else."""
BINS: Final = 10


class Symptom(StrEnum):
    """What a model that is of no use looks like."""

    ALWAYS_NEUTRAL = "AlwaysNeutral"
    ONE_SIDED = "OneSided"
    CONSTANT_OUTPUT = "ConstantOutput"
    NO_SIGNAL = "NoSignal"


@dataclass(frozen=True, slots=True)
class Sign:
    """One symptom that is there, and the numbers as text."""

    symptom: Symptom
    numbers: str


class Cause(StrEnum):
    """The five root causes."""

    CLASS_IMBALANCE = "ClassImbalance"
    POOR_CALIBRATION = "PoorCalibration"
    WRONG_OBJECTIVE = "WrongObjective"
    FEATURE_LEAKAGE = "FeatureLeakage"
    ONE_METHODOLOGY = "OneMethodology"


_REMEDIES: Final = {
    Cause.CLASS_IMBALANCE: "set overrides.target.classTarget, or change the label's threshold so that each class occurs",
    Cause.POOR_CALIBRATION: "give calibration more rows (validation.calibrationShare), or use Platt where there are few",
    Cause.WRONG_OBJECTIVE: "what it knows is worth less than its costs: trade only strong scores, a longer horizon, or another target",
    Cause.FEATURE_LEAKAGE: "look for features that know the answer, or that are constant: joins by period, centred windows, filled tails",
    Cause.ONE_METHODOLOGY: "use a timeframe that the recipe has numbers for, or write target, class target and gates for this one",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: ``found`` or not, and the numbers as text; ``remedy`` says what to do."""

    cause: Cause
    found: bool
    numbers: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _REMEDIES[self.cause] if self.found else ""


def examine(rows: Dataset, evidence: Evidence, plan: Plan, metrics: Mapping[str, float]) -> tuple[Finding, ...]:
    """Return a finding for each of the five causes; ``metrics`` are those of the run, the leak detector's included where it ran."""
    return (
        _imbalance(rows, evidence, plan),
        _calibration(metrics),
        _objective(metrics),
        _leakage(evidence, metrics),
        _methodology(plan),
    )


def symptoms(p: npt.NDArray[np.float64], threshold: float) -> tuple[Sign, ...]:
    """Return the symptoms of the class probabilities ``p`` (n, classes); ``threshold`` is the confidence from which a row is traded.

    A filter that lets most trades pass is what it is for, so of two classes only an output that never changes is a symptom.
    """
    signs = []
    spread = float(p.std(axis=0).max())
    if spread < FLAT:
        signs.append(Sign(Symptom.CONSTANT_OUTPUT, f"standard deviation of the probabilities {spread:.2g}, {FLAT:g} is little"))
    if p.shape[1] != 3:
        return tuple(signs)
    seen = classes.distribution(p, threshold)
    if seen["neutralPct"] > ONE:
        signs.append(Sign(Symptom.ALWAYS_NEUTRAL, f"{seen['neutralPct']:.1%} of the predictions are neutral"))
    signs += [
        Sign(Symptom.ONE_SIDED, f"{seen[f'{side}Pct']:.1%} of the predictions are {side}")
        for side in ("down", "up")
        if seen[f"{side}Pct"] > ONE
    ]
    if seen["eligibilityPct"] == 0.0:
        signs.append(Sign(Symptom.NO_SIGNAL, f"no row may be traded: mean confidence {seen['confMean']:.3f}, {threshold:.2f} is needed"))
    return tuple(signs)


def forensic_tables(evidence: Evidence, plan: Plan, findings: tuple[Finding, ...], signs: tuple[Sign, ...]) -> tuple[Table, ...]:
    """Return the tables of the report: symptoms and causes, classes, confidence."""
    causes = Table(
        name="forensic",
        title="Forensic report",
        note="Five causes for which a trained model may be of no use, and what it looks like then. They explain; the gates decide.",
        columns=("cause or symptom", "found", "numbers", "what to do"),
        rows=(
            *((finding.cause, "yes" if finding.found else "no", finding.numbers, finding.remedy) for finding in findings),
            *((sign.symptom, "yes", sign.numbers, "see the causes") for sign in signs),
        ),
    )
    return causes, _class_table(evidence, plan), _confidence_table(evidence)


def forensic_notes(findings: tuple[Finding, ...], signs: tuple[Sign, ...]) -> tuple[str, ...]:
    """Return one sentence for each symptom and each cause that was found."""
    causes = (f"Forensic: {finding.cause} ({finding.numbers}); {finding.remedy}." for finding in findings if finding.found)
    return (*(f"Forensic: {sign.symptom} ({sign.numbers})." for sign in signs), *causes)


def _imbalance(rows: Dataset, evidence: Evidence, plan: Plan) -> Finding:
    actual = np.bincount(rows.y[rows.known].astype(np.intp), minlength=plan.classes) / max(int(rows.known.sum()), 1)
    wanted = _wanted(plan, actual)
    predicted = evidence.confusion.sum(axis=0) / max(evidence.confusion.sum(), 1.0)
    bias = float(np.abs(predicted - wanted).max())
    # a class that is rare but weighted up is what the class target is for
    rare = plan.target.class_target is None and float(actual.min()) < RARE
    numbers = f"classes {_percent(actual)}, asked for {_percent(wanted)}, predicted {_percent(predicted)}"
    return Finding(Cause.CLASS_IMBALANCE, found=rare or (plan.classes > 2 and bias > BIAS), numbers=numbers)


def _calibration(metrics: Mapping[str, float]) -> Finding:
    # under the weights of the class target the probabilities are of a market with those shares, and are held to that
    error = metrics.get("weighted.ece", metrics.get("ece", float("nan")))
    numbers = f"expected calibration error {error:.3f}, {MISCALIBRATED:g} is much"
    return Finding(Cause.POOR_CALIBRATION, found=bool(error > MISCALIBRATED), numbers=numbers)


def _objective(metrics: Mapping[str, float]) -> Finding:
    area, error, earned = (metrics.get(name, float("nan")) for name in (AUC, "aucError", EXPECTANCY))
    # a model that knows nothing earns nothing for another reason
    found = area > 0.5 + 2.0 * error and not earned > 0.0
    return Finding(Cause.WRONG_OBJECTIVE, found=bool(found), numbers=f"AUC {area:.3f} ± {error:.3f}, expectancy {earned:.2g} net of costs")


def _leakage(evidence: Evidence, metrics: Mapping[str, float]) -> Finding:
    limits = LeakageGate()
    over = [
        f"{name} {metrics[LEAKAGE[name]]:.3f} above {limit:g}"
        for name, limit in (
            ("shuffledAuc", limits.max_shuffled_auc),
            ("shiftDrop", limits.max_shift_drop),
            ("purgeGain", limits.max_purge_gain),
        )
        if metrics.get(LEAKAGE[name], 0.0) > limit
    ]
    spread = float(evidence.classes.std(axis=0).max())
    top = evidence.classes.argmax(axis=1)
    constant = spread < FLAT or (evidence.classes.shape[1] > 2 and len(np.unique(top)) == 1)
    numbers = (
        f"standard deviation of the probabilities {spread:.3f}, {len(np.unique(top))} of {evidence.classes.shape[1]} classes predicted"
    )
    return Finding(Cause.FEATURE_LEAKAGE, found=bool(over) or constant, numbers="; ".join([numbers, *over]))


def _methodology(plan: Plan) -> Finding:
    profiles = plan.recipe.profiles
    known = not profiles or plan.data.timeframe in profiles
    own = "its own target" if known else "no numbers of its own"
    return Finding(Cause.ONE_METHODOLOGY, found=not known, numbers=f"the recipe has {own} for {plan.data.timeframe}")


def _class_table(evidence: Evidence, plan: Plan) -> Table:
    count = plan.classes
    names = classes.names(count)
    total = max(evidence.confusion.sum(), 1.0)
    actual, predicted = evidence.confusion.sum(axis=1) / total, evidence.confusion.sum(axis=0) / total
    mean, spread = evidence.classes.mean(axis=0), evidence.classes.std(axis=0)
    body = tuple((names[at], float(actual[at]), float(predicted[at]), float(mean[at]), float(spread[at])) for at in range(count))
    columns = ("class", "share of answers", "share of predictions", "mean probability", "standard deviation")
    units = ("", "share", "share", "share", "")
    note = "On rows that the scoring model has not seen."
    return Table(name="classes", title="Classes", note=note, columns=columns, rows=body, column_units=units)


def _confidence_table(evidence: Evidence) -> Table:
    """Return how sure the model is, and how often it is right then."""
    count = evidence.classes.shape[1]
    confidence = evidence.classes.max(axis=1)
    right = evidence.classes.argmax(axis=1) == evidence.y
    edges = np.linspace(1.0 / count, 1.0, BINS + 1)
    at = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, BINS - 1)
    body = tuple(
        (f"{edges[index]:.2f} to {edges[index + 1]:.2f}", float(np.mean(at == index)), float(right[at == index].mean()))
        for index in range(BINS)
        if (at == index).any()
    )
    above = float(np.mean(confidence > classes.CONFIDENT))
    note = f"Confidence is the largest class probability: mean {confidence.mean():.3f}, {above:.1%} above 0.60."
    columns, units = ("confidence", "share of rows", "right"), ("", "share", "share")
    return Table(name="confidence", title="Confidence", note=note, columns=columns, rows=body, column_units=units)


def _wanted(plan: Plan, actual: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = plan.target.class_target
    return actual if shares is None else np.array([shares.down, shares.neutral, shares.up])


def _percent(shares: npt.NDArray[np.float64]) -> str:
    return " / ".join(f"{share:.0%}" for share in shares)
