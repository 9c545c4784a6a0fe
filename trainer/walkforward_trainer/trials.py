"""Trials are counted across all runs of a retrain, and the deflated Sharpe ratio pays for every one of them.

Whoever tries often enough finds a model that looks good. So each run leaves a record of its trials, rejected or published, below
``<artifacts>/trials/``: append-only, one object a run, written once. The cluster remembers, not the person who tries.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from msgspec.structs import replace

from walkforward_core.documents import Document, Part, digest, encode
from walkforward_core.errors import AlreadyExists, DocumentError, NotFound
from walkforward_core.offline import DEFLATED_SHARPE, OVERFITTING
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.metrics.sharpe import deflated, expected_maximum
from walkforward_trainer.parallel import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.tuning import Search

    Matrix = npt.NDArray[np.float64]

__all__ = ["Totals", "TrialsRecord", "account", "deflate", "effective", "tried"]

FOLDER: Final = "trials"
LEAST_APART: Final = 1e-9
READERS: Final = 8
"""Records that are read at once: a nightly retrain leaves a thousand in three years."""


class Totals(Part, frozen=True, kw_only=True):
    """All trials of a retrain up to a run, that run's included.

    ``trials`` counts them, ``effective`` how many of them are independent, ``variance`` is that of independent ones' Sharpe ratios per
    outcome, None where they do not tell it.
    """

    trials: int
    effective: float
    variance: float | None = None


class TrialsRecord(Document, frozen=True, kw_only=True):
    """What one run tried; times in epoch milliseconds UTC.

    ``question`` is the digest of everything that a trial depends on but the data; ``from_ms`` and ``to_ms`` are its rows. ``sharpes`` are
    those of the trials that finished. ``totals`` are as they stood when the record was written: another attempt of the run finds them.
    """

    NAME: ClassVar[str] = "trials"

    namespace: str
    name: str
    run: str
    question: str
    from_ms: int
    to_ms: int
    trials: int
    sharpes: tuple[float, ...]
    totals: Totals


def tried(evidence: Evidence, search: Search | None) -> tuple[int, tuple[float, ...]]:
    """Return how many trials a run made and their Sharpe ratios; a run without a search is one trial, its own."""
    if search is not None:
        return search.trials, search.sharpes
    sharpe = evidence.model.sharpe
    return 1, (sharpe,) if math.isfinite(sharpe) else ()


def account(
    store: ObjectStore, run: RunDocument, plan: Plan, rows: Dataset, attempts: tuple[int, tuple[float, ...]], *, write: bool
) -> Totals:
    """Return the trials of the retrain so far, and keep those of this run (``write``), once.

    Raises
    ------
    BadData
        A record cannot be read: how much was tried is then not known, and is not guessed.
    StoreError
        The store did not do as asked.
    """
    folder = f"{run.spec.artifacts.uri.rstrip('/')}/{FOLDER}/"
    uri = f"{folder}{plan.as_of_ms}-{run.run}.json"
    # several retrains may share a place; the name of a run begins with that of its retrain
    candidates = [at for at in store.list(folder) if at.removeprefix(folder).partition("-")[2].startswith(f"{run.retrain.name}-")]
    records = side_by_side([partial(_read, store, at) for at in candidates], READERS, what="record of trials")
    own = [record for record in records if (record.namespace, record.name) == (run.retrain.namespace, run.retrain.name)]
    if written := next((record for record in own if record.run == run.run), None):
        return written.totals
    count, sharpes = attempts
    record = TrialsRecord(
        namespace=run.retrain.namespace,
        name=run.retrain.name,
        run=run.run,
        question=_question(plan),
        from_ms=int(rows.t0[0]),
        to_ms=int(rows.t1[-1]),
        trials=count,
        sharpes=sharpes,
        totals=Totals(trials=0, effective=0.0),
    )
    totals = _totals([*own, record])
    if write:
        try:
            store.put(uri, replace(record, totals=totals).to_bytes(), create_only=True)
        except AlreadyExists:  # a write whose answer was lost, or another attempt of the same run
            return _read(store, uri).totals
    return totals


def deflate(evidence: Evidence, totals: Totals, search: Search | None) -> dict[str, float]:
    """Return the metrics of the trials; of an evidence without a Sharpe ratio only the counts."""
    # where the Sharpe ratios do not tell it, they are taken to spread as luck alone would
    variance = 1.0 / max(evidence.independent, 1) if totals.variance is None else totals.variance
    found = {
        "trials": float(totals.trials),
        "trialsEffective": totals.effective,
        "trialSharpeVariance": variance,
        "expectedMaxSharpe": expected_maximum(totals.effective, variance),
    }
    if evidence.moments is not None:
        found[DEFLATED_SHARPE] = deflated(evidence.moments, evidence.independent, totals.effective, variance)
    if search is not None and math.isfinite(search.overfitting):
        found[OVERFITTING] = search.overfitting
    if search is not None and search.limited:
        # says in the manifest that the run cannot be repeated to the byte
        found["tuningTimeLimited"] = 1.0
    return found


def effective(spans: Sequence[tuple[int, int]]) -> float:
    """Return how many independent trials the same question over the time ``spans`` makes: (Σ√λ)² / Σλ (Galwey 2009).

    λ are the eigenvalues of the correlations; that of two runs is the share of their rows that they have in common. It is above what the
    largest of such Sharpe ratios shows (``docs/reference/statistics.md``), so it never flatters.

    >>> effective([(0, 10)]), effective([(0, 10), (10, 20)]), effective([(0, 10), (0, 10)])
    (1.0, 2.0, 1.0)
    """
    eigenvalues = np.clip(np.linalg.eigvalsh(_correlations(spans)), 0.0, None)
    eigenvalues[eigenvalues < 1e-9] = 0.0
    return round(float(np.sqrt(eigenvalues).sum() ** 2 / eigenvalues.sum()), 6) if eigenvalues.sum() > 0 else float(len(spans))


def _correlations(spans: Sequence[tuple[int, int]]) -> Matrix:
    """Return how alike the same question is over each two of the time ``spans``: the share of their time that they have in common."""
    start, end = (np.array(side, dtype=np.float64) for side in zip(*spans, strict=True))
    common = np.clip(np.minimum(end[:, None], end) - np.maximum(start[:, None], start), 0.0, None)
    length = np.maximum(end - start, 1.0)
    return np.asarray(common / np.sqrt(np.outer(length, length)))


def _totals(records: Sequence[TrialsRecord]) -> Totals:
    """Return the totals; runs of different questions are taken to be independent, and so are the trials of one search."""
    questions = [
        [record for record in records if record.question == question] for question in sorted({record.question for record in records})
    ]
    independent = sum(
        effective([(record.from_ms, record.to_ms) for record in same]) * max(record.trials for record in same) for same in questions
    )
    return Totals(trials=sum(record.trials for record in records), effective=independent, variance=_variance(questions))


def _variance(questions: Sequence[Sequence[TrialsRecord]]) -> float | None:
    """Return the variance of independent trials' Sharpe ratios: that of the sample / (1 - mean correlation of its pairs).

    Two nights share nearly all of their rows, and their Sharpe ratios lie close together for that reason alone. The k-th trials of two
    runs of one question are taken to be as alike as the runs' rows, all other pairs to be independent. None where fewer than two
    Sharpe ratios are known, or all are of one trial.
    """
    sharpes = [sharpe for same in questions for record in same for sharpe in record.sharpes]
    pairs = len(sharpes) * (len(sharpes) - 1)
    alike = 0.0
    for same in questions:
        count = np.array([len(record.sharpes) for record in same])
        common = _correlations([(record.from_ms, record.to_ms) for record in same])
        np.fill_diagonal(common, 0.0)
        alike += float((common * np.minimum(count[:, None], count)).sum())
    apart = 1.0 - alike / pairs if pairs else 0.0
    return float(np.var(sharpes, ddof=1)) / apart if apart > LEAST_APART else None


def _question(plan: Plan) -> str:
    """Return the digest of what is tried, before any search: two runs of one question differ by the rows of the same data alone."""
    return digest(encode([plan.config_digest, plan.data.uri, plan.data.symbols, plan.decision, plan.base_rule]))


def _read(store: ObjectStore, uri: str) -> TrialsRecord:
    try:
        return TrialsRecord.parse(store.get(uri), source=uri)
    except (DocumentError, NotFound) as error:
        raise BadData(
            Reason.TRIALS_UNREADABLE,
            f"trials: {error}; without this record the run would not know how much was tried: restore the object from a backup, or remove "
            "it if it is no record of a run",
        ) from error
