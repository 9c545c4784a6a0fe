"""The live model on the candidate's own rows: only on those that neither has learned from, and only if it answers the same question.

Where too few rows are newer than its data, the way in which it was trained is compared instead: what its fold models said to rows that they
had not seen, beside what the candidate's said to the same rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import MANIFEST, MODEL, Manifest
from walkforward_core.documents import digest
from walkforward_core.errors import DocumentError, Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.offline import DEGRADATION, DELTA
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, Transient
from walkforward_trainer.metrics import classes
from walkforward_trainer.runtime import run
from walkforward_trainer.specfile import instant
from walkforward_trainer.unseen import UNSEEN, Unseen, common

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.bundle import Baseline
    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.plan import Plan

__all__ = ["Comparison", "LiveModel", "compare", "load_baseline"]

MIN_ROWS: Final = 50
MIN_CLASS_ROWS: Final = 10
"""Fewer rows, or fewer of either answer, are no evidence for or against: the gate then says NoData."""
MANIFEST_LIMIT: Final = 4 * 2**20
MODEL_LIMIT: Final = 512 * 2**20
UNSEEN_LIMIT: Final = 64 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class LiveModel:
    """The baseline's manifest, the bytes of its graph and its answers out of fold (None without such a file), all verified."""

    manifest: Manifest
    model: bytes
    unseen: Unseen | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What the live model shows on unseen rows: ``metrics``, and a ``note`` that says why where there are none.

    ``at`` are the compared entries of the evidence, ``p`` (len(at), classes) the live model's probabilities there.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    note: str = ""
    at: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    p: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))


def load_baseline(store: ObjectStore, baseline: Baseline) -> LiveModel:
    """Return the baseline's bundle.

    Raises
    ------
    BadData, BadConfiguration, Transient
        The bundle is not what its digest promises; it may not be read; the store does not answer.
    """
    folder = baseline.uri.rstrip("/")
    try:
        raw = store.get(f"{folder}/{MANIFEST}", limit=MANIFEST_LIMIT)
        if digest(raw) != baseline.digest:
            raise BadData(
                Reason.BASELINE_BROKEN,
                f"baseline {folder}: its manifest is {digest(raw)}, not {baseline.digest}; somebody has written into a published bundle",
            )
        manifest = Manifest.parse(raw, source=f"{folder}/{MANIFEST}")
        model = store.get(f"{folder}/{MODEL}", limit=MODEL_LIMIT)
        unseen = store.get(f"{folder}/{UNSEEN}", limit=UNSEEN_LIMIT) if UNSEEN in manifest.files else None
    except Unavailable as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"baseline: {error}") from error
    except Forbidden as error:
        raise BadConfiguration(Reason.FORBIDDEN, f"baseline: {error}") from error
    except (NotFound, DocumentError) as error:
        raise BadData(Reason.BASELINE_BROKEN, f"baseline: {error}; promote a bundle that is whole, or remove the baseline") from error
    except StoreError as error:
        raise BadConfiguration(Reason.STORE_REFUSED, f"baseline: {error}") from error
    for name, content in ((MODEL, model), (UNSEEN, unseen)):
        if content is not None and hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
            raise BadData(Reason.BASELINE_BROKEN, f"baseline {folder}: {name} is not the file that its manifest names; restore the bundle")
    try:
        return LiveModel(manifest, model, None if unseen is None else Unseen.parse(unseen, source=f"{folder}/{UNSEEN}"))
    except DocumentError as error:
        raise BadData(Reason.BASELINE_BROKEN, f"baseline: {error}; promote a bundle of this version's trainer") from error


def compare(live: LiveModel, rows: Dataset, evidence: Evidence, plan: Plan) -> Comparison:
    """Return how the live model does on rows that neither has learned from.

    Those are the rows after the end of its own data and the embargo; where there are too few, also those of which its bundle has answers
    out of fold. ``degradation`` is the largest loss, relative to the live model's value, of AUC and, where they are gates, of F1 and
    accuracy. ``delta`` is of new rows alone, since it is about the two models that serve: the mean of half the summed absolute differences
    of the class probabilities, which of two classes is |p candidate - p live|. ``disagreement`` is the share of these rows with another
    most probable class.
    """
    incomparable = _incomparable(live.manifest, rows, plan)
    if incomparable:
        return Comparison(note=incomparable)
    at, theirs, found = _answers(live, rows, evidence, plan)
    y = evidence.y[at]
    if _few(y, plan):
        seen = ", ".join(f"{count} of class {index}" for index, count in enumerate(np.bincount(y.astype(np.intp), minlength=plan.classes)))
        note = (
            f"{len(y)} rows lie after the baseline's data (asOf {live.manifest.data.as_of}) and the embargo, or were tested out of fold by "
            f"both ({seen}); {MIN_ROWS} rows and {MIN_CLASS_ROWS} of each answer are needed"
        )
        return Comparison(metrics=found, note=note)
    before, now = _knows(y, theirs), _knows(y, evidence.classes[at])
    found |= {f"baseline{name}": value for name, value in before.items()} | {f"candidate{name}": value for name, value in now.items()}
    judged = ["Auc", *(name for name, gate in (("F1", plan.gates.f1), ("Accuracy", plan.gates.accuracy)) if gate is not None)]
    # of a live model that knows nothing there is nothing to lose
    found[DEGRADATION] = max((before[name] - now[name]) / max(before[name], 1e-9) for name in judged)
    return Comparison(metrics=found, at=at, p=theirs)


def _answers(
    live: LiveModel, rows: Dataset, evidence: Evidence, plan: Plan
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], dict[str, float]]:
    """Return the entries of the evidence that can be compared, the live model's probabilities there, and what is known from new rows."""
    new = np.flatnonzero(rows.t0[evidence.row] > instant(live.manifest.data.as_of, "baseline asOf") + plan.embargo_ms)
    x = rows.columns.matrix(live.manifest.input.features)[evidence.row[new]]
    at, theirs = new, run(live.model, x).astype(np.float64) if len(new) else np.zeros((0, plan.classes))
    found = {"baselineRows": float(len(new))}
    if not _few(evidence.y[new], plan):
        found |= _difference(evidence.classes[new], theirs)
    elif live.unseen is not None:
        # none of these is new: they are rows of its own data
        old, said = common(live.unseen, rows, evidence.row)
        at, theirs = np.concatenate((old, new)), np.concatenate((said, theirs))
        found["baselineRowsOutOfFold"] = float(len(old))
    return at, theirs, found


def _knows(y: npt.NDArray[np.float64], p: npt.NDArray[np.float64]) -> dict[str, float]:
    table = classes.confusion(y, p)
    return {"Auc": classes.area(y, p), "F1": classes.f1(table), "Accuracy": classes.accuracy(table)}


def _few(y: npt.NDArray[np.float64], plan: Plan) -> bool:
    """Return whether rows of the classes ``y`` are too few to say anything."""
    return len(y) < MIN_ROWS or int(np.bincount(y.astype(np.intp), minlength=plan.classes).min()) < MIN_CLASS_ROWS


def _difference(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return how far the two models' probabilities are apart."""
    return {
        DELTA: float(np.abs(ours - theirs).sum(axis=1).mean() / 2.0),
        "disagreement": float(np.mean(ours.argmax(axis=1) != theirs.argmax(axis=1))),
    }


def _incomparable(manifest: Manifest, rows: Dataset, plan: Plan) -> str:
    """Return why the baseline does not answer the candidate's question, or nothing."""
    missing = rows.columns.missing(manifest.input.features)
    if missing:
        return f"the baseline reads {missing}"
    theirs = f"{manifest.decision.kind} over {manifest.horizon.bars} bars of {manifest.data.timeframe}"
    ours = f"{plan.decision.kind} over {plan.target.horizon_bars} bars of {plan.data.timeframe}"
    if theirs != ours:
        return f"the baseline decides {theirs}, the candidate {ours}"
    if len(manifest.output.classes) != plan.classes:
        return f"the baseline knows {len(manifest.output.classes)} classes, the candidate {plan.classes}"
    return ""
