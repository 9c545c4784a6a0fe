"""The stages as a small Python API, for notebooks and scripts: the same functions that a Job calls, one after the other.

>>> from walkforward_trainer.notebook import Experiment
>>> fx = Experiment.load("fx.yaml", allow_file=True)                # doctest: +SKIP
>>> rows = fx.dataset()                                             # doctest: +SKIP
>>> rows.stats["labelled"], rows.dataset.x.shape                    # doctest: +SKIP
(1850, (2000, 18))
>>> candidate = fx.train(rows)                                      # doctest: +SKIP
>>> candidate.metrics["auc"], candidate.failed                      # doctest: +SKIP
(0.739, ())
>>> fx.publish(rows, candidate).version                             # doctest: +SKIP
'20170825T010000Z-aa8ddef2'
>>> fx.registry().list_candidates()                                 # doctest: +SKIP
{'20170825T010000Z-aa8ddef2': {'metrics': {'auc': 0.739, …}, …}}

Look-ahead: everything is relative to ``asOf``. Rows at the end of the window have no label yet; they are NaN, never filled.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from walkforward_core.api.data import DataKind
from walkforward_core.api.overrides import OverridesError, merged, parse
from walkforward_core.api.recipe import Overrides
from walkforward_core.documents import encode
from walkforward_core.objectstore import open_store
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.pipeline import check_as_of, prepare_all, settled
from walkforward_trainer.plan import make_plan
from walkforward_trainer.publish import publish
from walkforward_trainer.registry import Registry
from walkforward_trainer.specfile import instant, load, run_name, timestamp
from walkforward_trainer.stages import store_errors
from walkforward_trainer.train import judge_candidate, make_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.bundle import Bundle
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.prepare import Prepared
    from walkforward_trainer.train import Candidate

__all__ = ["Experiment", "Rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows that are ready to train on, with what was found about them; ``kind`` is what a row is."""

    prepared: Prepared
    kind: DataKind

    @property
    def dataset(self) -> Dataset:
        """The rows themselves."""
        return self.prepared.rows

    @property
    def unmet(self) -> tuple[str, ...]:
        """What eligibility misses, a sentence each."""
        return self.prepared.unmet

    @property
    def stats(self) -> Mapping[str, float]:
        """``rows``, ``labelled``, ``share.<class>`` of the labelled ones and ``avg_return``, their mean gross return as a share.

        Of trades also ``avg_pnl_pct``: the mean of what they made, in their own direction and before costs, in percent.
        """
        rows = self.dataset
        known = rows.y[rows.known]
        found = {"rows": float(len(rows)), "labelled": float(len(known))}
        found |= {f"share.{int(one)}": float(np.mean(known == one)) for one in np.unique(known)}
        found["avg_return"] = float(np.nanmean(rows.returns[rows.known])) if len(known) else math.nan
        if self.kind is DataKind.TRADES:
            found["avg_pnl_pct"] = 100.0 * float(np.mean(rows.base * rows.returns)) if len(rows) else math.nan
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One run of a ModelRetrain, stage by stage."""

    run: RunDocument
    allow_file: bool = False

    @classmethod
    def load(cls, path: str | Path, *, name: str = "", as_of: str | None = None, allow_file: bool = False) -> Experiment:
        """Return the experiment of a ModelRetrain in YAML, or of a Job's ``run.json``.

        Parameters
        ----------
        path
            The file.
        name
            Of several ModelRetrains in the file the one that is meant.
        as_of
            RFC 3339 in UTC; the instant at which the run pretends to happen. By default the spec's, else now.
        allow_file
            Whether ``file://`` addresses may be used.

        Raises
        ------
        BadConfiguration
            The file is not what it should be; the message names the field.
        """
        run = load(Path(path), now_ms=time.time_ns() // 1_000_000, name=name)
        return cls(run=run if as_of is None else _at(run, as_of), allow_file=allow_file)

    @property
    def plan(self) -> Plan:
        """The spec, resolved against its recipe."""
        return make_plan(self.run)

    def at(self, as_of: str) -> Experiment:
        """Return the same experiment at another instant: a walk forward is a loop over these."""
        return replace(self, run=_at(self.run, as_of))

    def overridden(self, **overrides: Any) -> Experiment:
        """Return the same experiment with other overrides, in the words of ``spec.overrides``; those that are not named stay.

        >>> risk.overridden(target={"maxAdverse": 0.05}, decision={"threshold": 0.6})   # doctest: +SKIP

        Raises
        ------
        BadConfiguration
            A field that overrides do not have, or a value out of its bounds.
        """
        return replace(self, run=_overridden(self.run, overrides))

    def dataset(self) -> Rows:
        """Return the rows of every symbol, from data to labels.

        Raises
        ------
        RunError
            The data cannot be read, or are not what the spec says.
        """
        now = time.time_ns() // 1_000_000
        plan = self.plan
        check_as_of(self.run, now)
        prepared = prepare_all(self.run, plan, self._artifacts(), Access(allow_file=self.allow_file), now_ms=now)
        return Rows(prepared, plan.kind)

    def train(self, rows: Rows, *, force: bool = False) -> Candidate:
        """Return the fitted model, judged by the gates of the spec.

        Raises
        ------
        BadData
            Eligibility is not met, and ``force`` is not set; or there is nothing to learn from.
        """
        if rows.unmet and not force:
            raise BadData(Reason.NOT_ELIGIBLE, f"{'; '.join(rows.unmet)}; train with force=True to try all the same")
        return judge_candidate(self.run, self._settled(rows), rows.prepared, self._artifacts())

    def publish(self, rows: Rows, candidate: Candidate) -> Bundle:
        """Write the candidate as a bundle below ``spec.artifacts.uri`` and return it.

        Raises
        ------
        BadConfiguration
            A gate failed: such a model is not published from a notebook either.
        """
        if candidate.failed:
            failed = ", ".join(record.name for record in candidate.failed)
            raise BadConfiguration(
                Reason.GATES_FAILED, f"not published, since it failed {failed}; see candidate.gates for why and what to do"
            )
        bundle = make_bundle(self.run, self._settled(rows), rows.prepared, candidate)
        with store_errors("artifacts.uri"):
            publish(self._artifacts(), bundle, self.run.spec.artifacts.uri)
        return bundle

    def registry(self) -> Registry:
        """Return the versions below ``spec.artifacts.uri``: to list, to promote with a reason, to keep."""
        return Registry(self._artifacts(), self.run.spec.artifacts.uri)

    def _settled(self, rows: Rows) -> Plan:
        return settled(self.run, self.plan, rows.prepared, self._artifacts(), Access(allow_file=self.allow_file))

    def _artifacts(self) -> ObjectStore:
        with store_errors("artifacts.uri"):
            return open_store(self.run.spec.artifacts.uri, allow_file=self.allow_file)

    def __repr__(self) -> str:
        return f"Experiment({self.run.retrain.name}, recipe {self.run.spec.recipe}, as of {timestamp(instant(self.run.as_of, 'asOf'))})"


def _at(run: RunDocument, as_of: str) -> RunDocument:
    """Return ``run`` at another instant, as a run of its own: what it tries is counted by itself."""
    instant(as_of, "as_of")
    return msgspec.structs.replace(run, as_of=as_of, run=run_name(run.retrain, run.spec, as_of))


def _overridden(run: RunDocument, overrides: Mapping[str, Any]) -> RunDocument:
    """Return ``run`` with ``overrides`` above those of its spec, field by field, as a run of its own."""
    try:
        above = msgspec.convert(parse(encode(overrides).decode(), "overrides"), Overrides)
    except OverridesError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, str(error)) from error
    spec = merged(msgspec.structs.replace(run.spec, overrides=above), msgspec.to_builtins(run.spec.overrides))
    return msgspec.structs.replace(run, spec=spec, run=run_name(run.retrain, spec, run.as_of))
