"""The scrape, rendered from our own counters: short for a small model, per-feature detail on request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from walkforward_core.drift import psi
from walkforward_core.pods import ModelRole
from walkforward_server.stats.latency import SCRAPE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walkforward_server.node import Node
    from walkforward_server.stats.rows import RowCounters
    from walkforward_server.table import Arm
    from walkforward_server.totals import Histogram

__all__ = ["render"]

WORST = 5
"""Features with the highest PSI that are shown without ``?features=1``."""


class _Text:
    """Lines of the text exposition format."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def family(self, name: str, kind: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> None:
        """Add a metric with its samples; one without samples is left out."""
        rows = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
        if rows:
            self.lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *rows]


def render(node: Node, *, features: bool) -> str:
    """Return the exposition; ``features`` asks for the PSI of every feature instead of the worst five."""
    text = _Text()
    _state(text, node)
    _requests(text, node)
    _latency(text, node)
    _evidence(text, node, features=features)
    return "\n".join(text.lines) + "\n"


def _state(text: _Text, node: Node) -> None:
    table, report = node.engine.table, node.report()
    text.family("ml_ready", "gauge", "Whether clients may be sent here.", [({}, node.ready)])
    text.family("ml_routing_generation", "gauge", "Generation of the routing document in force.", [({}, table.generation)])
    text.family("ml_routing_error", "gauge", "Whether the mounted document is refused.", [({}, report.error is not None)])
    expired = table.limit > 0 and time.time() >= table.ends
    text.family(
        "ml_routing_weight", "gauge", "Percent of the keys that the candidate answers.", [({}, 0 if expired else table.limit / 100)]
    )
    text.family("ml_exposure_expired", "gauge", "Whether exposureNotAfter has passed.", [({}, expired)])
    text.family(
        "ml_model_info",
        "gauge",
        "Models of the document and how they stand on this pod.",
        [
            ({"version": version, "role": model.role, "state": model.state, "bundle": model.digest}, 1)
            for version, model in report.models.items()
        ],
    )


def _requests(text: _Text, node: Node) -> None:
    totals = node.totals
    text.family(
        "ml_requests_total",
        "counter",
        "Answered requests by the model that answered.",
        [({"arm": a}, n) for a, n in totals.answers.items()],
    )
    text.family("ml_explicit_requests_total", "counter", "Requests for one version, outside of all evidence.", [({}, totals.explicit)])
    text.family("ml_repeated_requests_total", "counter", "Requests whose earlier attempt got no answer.", [({}, totals.repeated)])
    text.family(
        "ml_refused_total",
        "counter",
        "Requests answered with an error.",
        [({"status": str(s)}, n) for s, n in sorted(totals.refused.items())],
    )
    text.family("ml_outcomes_total", "counter", "Outcomes reported.", [({"result": r}, n) for r, n in totals.outcomes.items()])
    rows = node.book.counters()
    for name, attribute, help_ in (
        ("ml_fallback_total", "fallback", "Requests that another than the routed model answered."),
        ("ml_unkeyed_total", "unkeyed", "Requests without the key of the split."),
        ("ml_shadow_total", "shadow", "Rows scored beside the answer."),
        ("ml_shadow_skipped_total", "shadow_skipped", "Rows not scored beside the answer for want of time."),
    ):
        text.family(name, "counter", help_, _by_role(rows, attribute))
    text.family(
        "ml_score_errors_total",
        "counter",
        "Scores that failed.",
        [
            ({**labels, "kind": kind}, value)
            for kind, attribute in (("Exception", "exception"), ("NonFinite", "non_finite"))
            for labels, value in _by_role(rows, attribute)
        ],
    )


def _latency(text: _Text, node: Node) -> None:
    name = "ml_predict_latency_ms"
    arms = node.totals.latency
    if not arms:
        return
    text.lines += [
        f"# HELP {name} From the request's first byte to the response's hand-over, by the arm that answered.",
        f"# TYPE {name} histogram",
    ]
    for arm, histogram in arms.items():
        text.lines += _histogram(name, arm, histogram)


def _histogram(name: str, arm: str, histogram: Histogram) -> list[str]:
    lines, running = [], 0
    for edge, count in zip((*SCRAPE_MS, None), histogram.counts, strict=True):
        running += count
        label = "+Inf" if edge is None else f"{edge:g}"
        lines.append(f'{name}_bucket{{arm="{arm}",le="{label}"}} {running}')
    return [*lines, f'{name}_sum{{arm="{arm}"}} {histogram.sum_ms:.6g}', f'{name}_count{{arm="{arm}"}} {running}']


def _evidence(text: _Text, node: Node, *, features: bool) -> None:
    table = node.engine.table
    drifts = [sample for arm in _judged(table.arms) for sample in _psi(node, arm, everything=features)]
    text.family("ml_psi_score", "gauge", "PSI against the model's own reference, over distinct bars.", drifts)
    bars = [({"role": arm.row.role.value, "version": arm.model.version}, _distinct(node, arm)) for arm in _judged(table.arms)]
    text.family("ml_drift_bars_total", "counter", "Distinct bars that ml_psi_score is taken over.", bars)
    pair = table.pair
    if pair is None:
        return
    pairs = [p for p in node.book.pair_counters() if (p.stable, p.candidate) == (pair.counters.stable, pair.counters.candidate)]
    total = sum(p.n for p in pairs)
    both = total - sum(p.only_candidate_failed + p.only_stable_failed for p in pairs)
    labels = {"stable": pair.counters.stable, "candidate": pair.counters.candidate}
    text.family("ml_shadow_pairs_total", "counter", "Rows scored by both models.", [(labels, total)])
    if both > 0:
        text.family("ml_shadow_match", "gauge", "Share of rows on which both decide alike.", [(labels, sum(p.agree for p in pairs) / both)])


def _judged(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    return tuple(arm for arm in arms if arm.row.drift is not None)


def _psi(node: Node, arm: Arm, *, everything: bool) -> list[tuple[dict[str, str], float]]:
    """Return the PSI of the score and of the features, over all generations that are kept."""
    rows = _rows_of(node, arm)
    reference = arm.model.reference
    names = [feature.name for feature in reference.features]
    counts = [[0] * 10 for _ in names]
    score = [0] * 10
    for row in rows:
        drift = row.drift
        if drift is None:
            continue
        drift.flush()
        counts = [[a + b for a, b in zip(mine, more, strict=True)] for mine, more in zip(counts, drift.counts.tolist(), strict=True)]
        score = [a + b for a, b in zip(score, drift.score.tolist(), strict=True)]
    values = [
        (name, psi(count, feature.counts)) for name, count, feature in zip(names, counts, reference.features, strict=True) if sum(count)
    ]
    if not everything:
        values = sorted(values, key=lambda item: -item[1])[:WORST]
    if sum(score):
        values.append(("score", psi(score, reference.score.counts)))
    return [({"feature": name, "role": arm.row.role.value}, value) for name, value in values]


def _distinct(node: Node, arm: Arm) -> int:
    return sum(row.distinct for row in _rows_of(node, arm))


def _rows_of(node: Node, arm: Arm) -> list[RowCounters]:
    return [row for row in node.book.counters() if row.version == arm.model.version and row.role is arm.row.role]


def _by_role(rows: tuple[RowCounters, ...], attribute: str) -> list[tuple[dict[str, str], float]]:
    """Sum one counter of all rows by role; a role that never counted is left out."""
    sums = {role: sum(getattr(row, attribute) for row in rows if row.role is role) for role in (ModelRole.STABLE, ModelRole.CANDIDATE)}
    return [({"role": role.value}, value) for role, value in sums.items() if value or role is ModelRole.STABLE]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escape(str(value))}"' for key, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"
