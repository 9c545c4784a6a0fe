"""Metrics of the operator, named after controller-runtime's where that has one; all labels are bounded (docs/reference/metrics.md)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OBJECT = ("namespace", "name")


class Metrics:
    """Every metric of one operator process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_queue()
        self._of_rollouts()
        self._of_retrains()
        self._of_host()

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a rollout that is gone."""
        self.weight.remove_by_labels({"namespace": namespace, "name": name})
        for metric in (self.phase, self.gate_value, self.gate_verdict, self.held, self.abort_latency):
            metric.remove_by_labels({"namespace": namespace, "name": name})

    def forget_retrain(self, namespace: str, name: str) -> None:
        """Drop the series of a retrain that is gone."""
        for metric in (self.retrain_published, self.retrain_next_run):
            metric.remove_by_labels({"namespace": namespace, "name": name})

    def set_phase(self, namespace: str, name: str, phase: str, *, before: str | None) -> None:
        """Say which phase a rollout is in, no more in ``before``: one series an object, for thirteen of a thousand are 15 MB."""
        if before is not None:
            self.phase.remove(namespace, name, before)
        self.phase.labels(namespace, name, phase).set(1.0)

    def _of_queue(self) -> None:
        self.reconciles = self._counter("reconcile_total", "Reconciles by how they ended.", ("controller", "result"))
        self.errors = self._counter("reconcile_errors_total", "Reconciles that ended in an error.", ("controller",))
        self.seconds = self._histogram("reconcile_time_seconds", "Duration of a reconcile.", ("controller",))
        self.depth = self._gauge("workqueue_depth", "Keys that wait for a worker.", ("name",))
        self.active = self._gauge("workqueue_active_workers", "Keys that are being worked on.", ("name",))
        self.adds = self._counter("workqueue_adds_total", "Keys put into the queue.", ("name",))
        self.retries = self._counter("workqueue_retries_total", "Keys put back after an error.", ("name",))
        self.queued = self._histogram("workqueue_queue_duration_seconds", "Time that a key waited for a worker.", ("name",))
        self.longest = self._gauge("workqueue_longest_running_processor_seconds", "Age of the oldest running reconcile.", ("name",))

    def _of_rollouts(self) -> None:
        self.weight = self._gauge("rollout_weight", "Percent of the request keys that the candidate answers.", _OBJECT)
        self.phase = self._gauge("rollout_phase", "1 for the phase that the rollout is in.", (*_OBJECT, "phase"))
        self.gate_value = self._gauge("gate_value", "Newest value of a gate.", (*_OBJECT, "gate"))
        self.gate_verdict = self._gauge("gate_verdict", "Newest verdict of a gate: 1 Pass, 0 NoData, -1 Fail.", (*_OBJECT, "gate"))
        self.held = self._gauge("rollout_held_seconds", "How long the rollout has been held.", _OBJECT)
        self.aborts = self._counter("rollout_aborts_total", "Aborts by cause.", ("cause",))
        self.drift = self._counter("route_drift_total", "Routing documents that somebody else had changed.", ("outcome",))
        self.decision_lag = self._histogram(
            "rollout_decision_lag_seconds", "From the newest observation of the servers to the end of the decision on it.", ()
        )
        self.abort_seconds = self._histogram(
            "rollout_abort_seconds", "From the routing document of an abort to the last reachable pod that verified it.", ()
        )
        self.abort_latency = self._gauge("rollout_last_abort_seconds", "The same, of the newest abort of each rollout.", _OBJECT)
        self.unbanked = self._counter("evidence_bank_errors_total", "Evidence that could not be banked and is tried again.", ())
        self.ledger_errors = self._counter("ledger_write_errors_total", "Ledger records that could not be written and are tried again.", ())

    def _of_retrains(self) -> None:
        self.retrain_runs = self._counter("retrain_runs_total", "Runs that ended, by verdict and reason.", ("verdict", "reason"))
        self.retrain_published = self._gauge("retrain_published_timestamp_seconds", "When the newest bundle was published.", _OBJECT)
        self.retrain_next_run = self._gauge("retrain_next_run_timestamp_seconds", "When the clock starts the next run.", _OBJECT)

    def _of_host(self) -> None:
        self.events = self._counter("watch_events_total", "Events that the watches brought.", ("kind",))
        self.watch_restarts = self._counter("watch_restarts_total", "Starts of the watches after a failure.", ())
        self.leading = self._gauge("leader_election_master_status", "1 while this process holds the Lease.", ("name",))
        self.lease_errors = self._counter("lease_errors_total", "Renewals of the Lease that failed.", ())

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"walkforward_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"walkforward_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(f"walkforward_{name}", text, labels, buckets=_SECONDS, registry=self.registry)
