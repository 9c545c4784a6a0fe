"""The forensic report as files of its own: ``forensic_analysis_results.json`` for programs, ``forensic_report.txt`` for people.

They lie beside ``report.html``, in the bundle or, of a run that was rejected, in the run's folder: that is where they are needed most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from walkforward_trainer.metrics import classes
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.forensic import Finding, Sign
    from walkforward_trainer.plan import Plan

__all__ = ["ESCALATION", "REPORT", "RESULTS", "forensic_files"]

RESULTS: Final = "forensic_analysis_results.json"
REPORT: Final = "forensic_report.txt"
SCHEMA: Final = "walkforward.dev/forensic/v1"
ESCALATION: Final = (
    ("data quality", "gaps, stale or doubled bars, a feed that has changed: the facts about the data in report.html"),
    ("features", "one that leaks, that is constant, or whose drift is above its limit: importance, drift and leak detector in report.html"),
    ("labels", "threshold, horizon and class target of this timeframe: the shares of the answers above"),
    ("regime", "does the test lie in another kind of market than the training? Wait, or lengthen the window"),
    ("a senior quant", "with this file and report.html; not with lower limits"),
)
"""What to look at, in this order, when one retrain after the other fails."""


def forensic_files(
    rows: Dataset, evidence: Evidence, plan: Plan, findings: tuple[Finding, ...], signs: tuple[Sign, ...]
) -> dict[str, bytes]:
    """Return both files by name; nothing in them says when they were made."""
    results = _results(rows, evidence, plan, findings, signs)
    return {RESULTS: msgspec.json.format(msgspec.json.encode(results)), REPORT: _text(results).encode()}


def _results(rows: Dataset, evidence: Evidence, plan: Plan, findings: tuple[Finding, ...], signs: tuple[Sign, ...]) -> dict[str, Any]:
    p, total = evidence.classes, max(float(evidence.confusion.sum()), 1.0)
    count = p.shape[1]
    shares = plan.target.class_target
    asked = {} if shares is None else {"down": shares.down, "neutral": shares.neutral, "up": shares.up}
    actual, predicted = evidence.confusion.sum(axis=1) / total, evidence.confusion.sum(axis=0) / total
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "as_of": timestamp(plan.as_of_ms),
        "timeframe": plan.data.timeframe,
        "symbols": rows.symbols,
        "rows": len(evidence.y),
        "classes": {
            name: {
                "answers": float(actual[at]),
                "asked": asked.get(name),
                "predictions": float(predicted[at]),
                "mean_probability": float(p[:, at].mean()),
                "standard_deviation": float(p[:, at].std()),
            }
            for at, name in enumerate(classes.names(count))
        },
        "confidence": {"mean": float(p.max(axis=1).mean()), "above_060": float(np.mean(p.max(axis=1) > classes.CONFIDENT))},
        "symptoms": [{"symptom": sign.symptom, "numbers": sign.numbers} for sign in signs],
        "causes": [
            {"cause": finding.cause, "found": finding.found, "numbers": finding.numbers, "remedy": finding.remedy} for finding in findings
        ],
        "escalation": [topic for topic, _ in ESCALATION],
    }
    if count == 3:
        seen = classes.distribution(p, plan.decision.threshold)
        found["eligible"] = {"share": seen["eligibilityPct"], "alpha_mean": seen["alphaMean"], "floor": plan.decision.threshold}
    return found


def _text(found: Mapping[str, Any]) -> str:
    where = f"{found['timeframe']} of {', '.join(found['symbols'])} as of {found['as_of']}"
    lines = [f"Forensic report: {where}", f"{found['rows']} rows that the scoring model has not seen", ""]
    lines.append(f"{'class':10}{'answers':>10}{'asked':>10}{'predicted':>11}{'mean p':>10}{'spread':>10}")
    for name, one in found["classes"].items():
        asked = "-" if one["asked"] is None else f"{one['asked']:.1%}"
        shares = f"{one['answers']:>10.1%}{asked:>10}{one['predictions']:>11.1%}{one['mean_probability']:>10.3f}"
        lines.append(f"{name:10}{shares}{one['standard_deviation']:>10.3f}")
    confidence = found["confidence"]
    lines += ["", f"confidence: mean {confidence['mean']:.3f}, {confidence['above_060']:.1%} of the rows above 0.60"]
    if "eligible" in found:
        eligible = found["eligible"]
        lines.append(f"eligible: {eligible['share']:.1%} of the rows, mean alpha {eligible['alpha_mean']:.3f}")
    lines += ["", "symptoms:", *([f"  {one['symptom']}: {one['numbers']}" for one in found["symptoms"]] or ["  none"]), "", "causes:"]
    for one in found["causes"]:
        lines.append(f"  [{'x' if one['found'] else ' '}] {one['cause']}: {one['numbers']}")
        lines += [f"      {one['remedy']}"] if one["remedy"] else []
    lines += ["", "If retraining keeps failing, look at these, in this order:"]
    lines += [f"  {at}. {topic}: {what}" for at, (topic, what) in enumerate(ESCALATION, start=1)]
    return "\n".join(lines) + "\n"
