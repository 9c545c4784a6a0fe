"""One object of each kind as a team would write it; the reference pages show them, the tests apply them."""

from __future__ import annotations

from typing import Final

__all__ = ["RETRAIN", "ROLLOUT"]

RETRAIN: Final = """\
apiVersion: walkforward.dev/v1alpha1
kind: ModelRetrain
metadata: {name: fx-risk, namespace: fx-prod}
spec:
  schedules:
    - {cron: "0 13 * * *", timeZone: Etc/UTC}
  triggers: {maxModelAge: 7d}
  recipe: ohlcv
  overrides:
    target: {kind: Risk, horizonBars: 5, threshold: 1.5}
    decision: {threshold: 0.4, baseRule: "momentum:20"}
  data: {uri: "s3://market-data/eurusd.parquet", symbols: [EURUSD], timeframe: 1h, window: 90d}
  eligibility: {minAge: 14d, minBars: 500}
  validation: {scheme: PurgedKFold, folds: 5, embargo: 24h}
  costs: {feeBps: 0.5}
  gates: {auc: {min: 0.62}, maxDegradation: 10%}
  artifacts: {uri: "s3://prod-models/fx-risk"}
  job: {resources: {requests: {cpu: "1", memory: 2Gi}, limits: {memory: 4Gi}}}
"""
ROLLOUT: Final = """\
apiVersion: walkforward.dev/v1alpha1
kind: ModelRollout
metadata: {name: fx, namespace: fx-prod}
spec:
  target: {deployment: fx-server}
  source: {retrainRef: {name: fx-risk}}
  splitBy: client
  strategy:
    shadow: {minRequests: 200}
    phases: [{weight: 5, duration: 30m}, {weight: 25, duration: 30m}, {weight: 100, duration: 30m}]
    watch: {duration: 24h}
    freezes: [{from: "2026-12-24T00:00:00Z", to: "2027-01-02T00:00:00Z", reason: thin markets}]
  gates:
    psi: {max: 0.2}
    sharpe: {mode: Paired, nonInferiority: 0.05, evidence: ShadowFirst}
    latency: {p95: 80ms, minDuration: 10m}
    errorRate: {max: 1%, expected: 0.1%}
    offlineAuc: {min: 0.62}
  approval: {required: true, expires: 24h}
"""
