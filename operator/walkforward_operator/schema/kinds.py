"""The two kinds: names, models, printer columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core import names
from walkforward_core.api.cel import Cel
from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.api.rollout import RolloutSpec
from walkforward_operator.retrain.status import RetrainStatus
from walkforward_operator.rollout.status import RolloutStatus
from walkforward_operator.schema import examples

if TYPE_CHECKING:
    import msgspec

__all__ = ["KINDS", "Column", "Kind"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``; ``wide`` ones appear with ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD is made from."""

    kind: str
    plural: str
    short_name: str
    spec: type[msgspec.Struct]
    columns: tuple[Column, ...]
    rules: tuple[Cel, ...]
    status: type[msgspec.Struct]
    example: str
    selectable: tuple[str, ...] = ()

    @property
    def singular(self) -> str:
        """The name in ``kubectl get <singular>``."""
        return self.kind.lower()

    @property
    def file(self) -> str:
        """The file name of the CRD."""
        return f"{names.GROUP}_{self.plural}.yaml"


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since it was created.", "date")


def _named(limit: int, why: str) -> Cel:
    """Names are used as names and labels of other objects, so they must be DNS labels."""
    return Cel(
        f"size(self.metadata.name) <= {limit} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        f"metadata.name: at most {limit} lower case letters, digits and hyphens, no dots: {why}",
    )


RETRAIN: Final = Kind(
    kind="ModelRetrain",
    plural=names.RETRAINS,
    short_name="mretrain",
    spec=RetrainSpec,
    status=RetrainStatus,
    example=examples.RETRAIN,
    columns=(
        Column("Phase", ".status.phase", "What the retrain does now."),
        Column("Verdict", ".status.lastRun.verdict", "How the last run ended."),
        Column("Model", ".status.latestBundle.version", "Version of the newest published model."),
        Column("Last-Run", ".status.lastRun.startedAt", "Time since the last run started.", "date"),
        Column("Next-Run", ".status.nextRun", "When the next run starts."),
        _AGE,
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", "Why it is, or is not, ready.", wide=True),
        Column("Message", ".status.message", "One sentence for people.", wide=True),
    ),
    rules=(_named(47, "Jobs are called after it and add up to 16 characters"),),
)
ROLLOUT: Final = Kind(
    kind="ModelRollout",
    plural=names.ROLLOUTS,
    short_name="mrollout",
    spec=RolloutSpec,
    status=RolloutStatus,
    example=examples.ROLLOUT,
    columns=(
        Column("Phase", ".status.phase", "Where the walk stands."),
        Column("Step", ".status.step", "Step of the plan, of how many."),
        Column("Weight", ".status.weight", "Percent of the request keys that the candidate answers.", "integer"),
        Column("Stable", ".status.stable.version", "Version that serves."),
        Column("Candidate", ".status.candidate.version", "Version on trial."),
        Column("Gate", ".status.gate", "Gate that decides now."),
        Column("Reason", ".status.reason", "Why it stands there."),
        _AGE,
        Column("PSI", ".status.summary.psi", "Worst PSI of the candidate.", wide=True),
        Column("P95", ".status.summary.p95", "Answers above the limit.", wide=True),
        Column("Sharpe", ".status.summary.sharpe", "Difference of the Sharpe ratios.", wide=True),
        Column("Held", ".status.summary.held", "Time held without a verdict.", wide=True),
        Column("Deadline", ".status.summary.deadline", "When the hold or the approval ends.", wide=True),
    ),
    rules=(_named(63, "the ledger and labels are called after it"),),
    selectable=(".spec.target.deployment",),
)
KINDS: Final = (RETRAIN, ROLLOUT)
