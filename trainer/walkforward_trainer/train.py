"""The stages after eligibility: models → parity → evidence → gates → reference → report → golden rows → bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from walkforward_core.bundle import MODEL, REPORT_HTML, REPORT_JSON
from walkforward_core.offline import blocking, explain, judge
from walkforward_core.runs import ResultDocument, RunMode, RunVerdict
from walkforward_trainer.baseline import compare, load_baseline
from walkforward_trainer.bundle import Contents, assemble, libraries
from walkforward_trainer.checks import check, constant_output, trials_table
from walkforward_trainer.errors import Reason
from walkforward_trainer.evaluate import evaluate
from walkforward_trainer.fit import fit
from walkforward_trainer.golden import make_golden
from walkforward_trainer.heads import head_metrics
from walkforward_trainer.parity import check_parity
from walkforward_trainer.publish import publish
from walkforward_trainer.reference import make_reference
from walkforward_trainer.report.document import Findings, make_report
from walkforward_trainer.report.live import live_outcomes
from walkforward_trainer.report.page import make_page
from walkforward_trainer.result import run_folder
from walkforward_trainer.runtime import latency_us
from walkforward_trainer.splits import evaluation_splits
from walkforward_trainer.stages import stage, store_errors
from walkforward_trainer.stretches import left_out
from walkforward_trainer.trials import account, deflate, tried
from walkforward_trainer.tuning import tune
from walkforward_trainer.unseen import UNSEEN, unseen_answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.bundle import GateRecord, Parity, Reference
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.bundle import Bundle
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.prepare import Prepared
    from walkforward_trainer.publish import Published

__all__ = ["Candidate", "judge_candidate", "make_bundle", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A fitted model with everything that is known about it.

    ``latency_us`` is the median time of scoring one row here; ``files`` are what checks want to lie beside the reports.
    """

    fitted: Fitted
    parity: Parity
    latency_us: float
    evidence: Evidence
    metrics: dict[str, float]
    gates: tuple[GateRecord, ...]
    reference: Reference
    reports: tuple[bytes, bytes]
    trials: int
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[GateRecord, ...]:
        """Gates that forbid publishing."""
        return blocking(self.gates)


def train(run: RunDocument, plan: Plan, prepared: Prepared, store: ObjectStore) -> ResultDocument:
    """Return the result of a run that is eligible: published or rejected; a smoke run goes through every stage and publishes nothing."""
    candidate = judge_candidate(run, plan, prepared, store)
    smoke = run.mode is RunMode.SMOKE
    if candidate.failed or smoke:
        # a person who asks why finds the report beside result.json
        folder = run_folder(run.spec.artifacts.uri, run.run)
        with store_errors("artifacts.uri"):
            for name, data in (*zip((REPORT_JSON, REPORT_HTML), candidate.reports, strict=True), *candidate.files.items()):
                store.put(folder + name, data)
    if candidate.failed and not smoke:
        return _result(run, RunVerdict.REJECTED, Reason.GATES_FAILED, candidate)
    bundle = make_bundle(run, plan, prepared, candidate)
    if smoke:
        return _result(run, RunVerdict.DRY_RUN, Reason.SMOKE_REJECTED if candidate.failed else Reason.SMOKE_PASSED, candidate)
    with stage("bundle"), store_errors("artifacts.uri"):
        standing = publish(store, bundle, run.spec.artifacts.uri)
    reason = Reason.PUBLISHED if standing.fresh else Reason.ALREADY_PUBLISHED
    return _with_bundle(_result(run, RunVerdict.PUBLISHED, reason, candidate), bundle, standing)


def judge_candidate(run: RunDocument, plan: Plan, prepared: Prepared, store: ObjectStore) -> Candidate:
    """Return the fitted model, judged by the gates of the spec; ``store`` is asked for the baseline and for the trials of earlier runs."""
    rows, search = prepared.rows, None
    if plan.tuning is not None:
        with stage("tuning"):
            tuned = tune(rows, plan, evaluation_splits(rows, plan))
        plan, search = tuned.plan, tuned.search
    with stage("models"):
        fitted = fit(rows, plan)
    with stage("parity"):
        parity = check_parity(rows.x, fitted)
        latency = latency_us(fitted.model, rows.x)
    with stage("evidence"):
        evidence = evaluate(rows, fitted, plan)
        found, live = dict[str, float](), None
        notes: tuple[str, ...] = (plan.costs.note,) if plan.costs.note else ()
        if run.baseline is not None:
            before = load_baseline(store, run.baseline)
            compared = compare(before, rows, evidence, plan)
            found, live = compared.metrics, live_outcomes(compared, before.manifest.decision, evidence, rows, plan.round_trip)
            notes += (f"Not compared with the live model: {compared.note}.",) if compared.note else ()
    with stage("trials"), store_errors("artifacts.uri"):
        totals = account(store, run, plan, rows, tried(evidence, search), write=run.mode is RunMode.FULL)
    metrics = evidence.metrics | head_metrics(rows, fitted.heads) | found | deflate(evidence, totals, search)
    if rows.left_out:
        metrics, notes = metrics | {"rowsLeftOut": float(rows.left_out)}, (*notes, f"{left_out(rows)}.")
    checked = check(rows, plan, evidence, metrics)
    metrics |= checked.metrics
    with stage("gates"):
        skipped = {gate.name: gate.reason for gate in run.skip_gates}
        gates = judge(plan.gates, metrics, baseline=run.baseline is not None, skipped=skipped) + constant_output(fitted)
    with stage("reference"):
        reference = make_reference(rows.x, rows.names, fitted.score, rows.stretch)
    with stage("report"):
        findings = Findings(
            rows=rows,
            facts=prepared.facts,
            fitted=fitted,
            evidence=evidence,
            metrics=metrics,
            gates=gates,
            reference=reference,
            libraries=libraries(),
            trials=totals.trials,
            notes=notes + checked.notes,
            live=live,
            tables=(trials_table(totals, search, metrics), *checked.tables),
        )
        report = make_report(run, plan, findings)
        reports = report.to_bytes(), make_page(report)
    return Candidate(
        fitted=fitted,
        parity=parity,
        latency_us=latency,
        evidence=evidence,
        metrics=metrics,
        gates=gates,
        reference=reference,
        reports=reports,
        trials=totals.trials,
        files=checked.files,
    )


def make_bundle(run: RunDocument, plan: Plan, prepared: Prepared, candidate: Candidate) -> Bundle:
    """Return the bundle of ``candidate``, not yet written."""
    rows = prepared.rows
    with stage("golden"):
        golden = make_golden(rows.x, candidate.fitted, plan)
    files = dict(candidate.files)
    if plan.gates.max_degradation is not None:
        # what the next candidate is compared with, as long as there are few new rows
        files[UNSEEN] = unseen_answers(rows, candidate.evidence)
    contents = Contents(
        fitted=candidate.fitted,
        metrics=candidate.metrics,
        gates=candidate.gates,
        parity=candidate.parity,
        reference=candidate.reference,
        golden=golden,
        reports=candidate.reports,
        trials=candidate.trials,
        further=files,
    )
    return assemble(run, plan, rows, contents)


def _result(run: RunDocument, verdict: RunVerdict, reason: Reason, candidate: Candidate) -> ResultDocument:
    if candidate.failed:
        message = "; ".join(explain(record) for record in candidate.failed)
    else:
        message = ", ".join(f"{gate.name} {gate.verdict}{' (skipped)' if gate.forced else ''} ({gate.message})" for gate in candidate.gates)
    if run.mode is RunMode.SMOKE:
        message = f"a reduced model went through every stage and was not published; {message}"
    return ResultDocument(
        run=run.run,
        verdict=verdict,
        reason=reason,
        message=message,
        # how fast it was here is not what the model is: the bundle has nothing that differs between two runs
        metrics=candidate.metrics | {"latencyMicros": candidate.latency_us},
        failed=tuple(record.name for record in candidate.failed),
    )


def _with_bundle(result: ResultDocument, bundle: Bundle, standing: Published) -> ResultDocument:
    foreign = "" if standing.run == result.run else f"published by the run {standing.run}, which trained the same model for this asOf; "
    return replace(
        result,
        message=foreign + result.message,
        version=bundle.version,
        uri=bundle.uri,
        digest=standing.digest,
        model=f"sha256:{hashlib.sha256(bundle.files[MODEL]).hexdigest()}",
    )
