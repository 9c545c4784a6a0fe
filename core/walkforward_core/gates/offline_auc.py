"""The AUC that the trainer measured on the shipped model, read from the manifest and judged again.

A gate that a person asked to skip in training (``forced``) is not skipped here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.bundle import Verdict
from walkforward_core.gates.result import Context, GateReason, GateResult

if TYPE_CHECKING:
    from walkforward_core.evidence.view import Evidence

__all__ = ["NAME", "OfflineAucConfig", "judge"]

NAME = "offlineAuc"
METRIC = "auc"


@dataclass(frozen=True, slots=True)
class OfflineAucConfig:
    """Smallest AUC that passes; 0.5 is a coin."""

    min: float = 0.62
    dry_run: bool = False


def judge(config: OfflineAucConfig, evidence: Evidence, context: Context) -> GateResult:  # noqa: ARG001 - the signature of every gate
    """Return the verdict on ``metrics.auc`` of the candidate's manifest; no live evidence is looked at."""
    manifest = context.manifest
    value = manifest.metrics.get(METRIC) if manifest is not None else None

    def say(verdict: Verdict, reason: GateReason, message: str, remedy: str = "") -> GateResult:
        shown = value if value is not None and math.isfinite(value) else None
        return GateResult(NAME, verdict, reason, message, shown, config.min, remedy=remedy, dry_run=config.dry_run)

    if manifest is None:
        return say(Verdict.NO_DATA, GateReason.METRIC_MISSING, "the candidate's manifest could not be read", "check the object store")
    if value is None or not math.isfinite(value):
        text = f"metrics.{METRIC} of {manifest.version} is {value}"
        return say(Verdict.NO_DATA, GateReason.METRIC_MISSING, text, "train with a recipe that measures it, or leave the gate out")
    forced = next((" (skipped in training by request)" for gate in manifest.gates if gate.name == METRIC and gate.forced), "")
    text = f"AUC {value:.4f} of {manifest.version} against {config.min:.4f}{forced}"
    if value >= config.min:
        return say(Verdict.PASS, GateReason.METRIC_REACHED, text)
    return say(Verdict.FAIL, GateReason.METRIC_MISSED, text, "improve features or target; a lower limit admits noise")
