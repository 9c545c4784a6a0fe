"""Every gate of a candidate at once, each with a limit of its own."""

from __future__ import annotations

from walkforward_core.api.offline import (
    AucGate,
    DeltaGate,
    DistributionGate,
    LeakageGate,
    MaxGate,
    MinGate,
    OfflineGates,
    PrecisionGate,
    ShareGate,
)

__all__ = ["EVERY"]

EVERY = OfflineGates(
    auc=AucGate(min=0.62, above_chance=2.5),
    precision_at_k=PrecisionGate(k=20, min=0.58),
    accuracy=ShareGate(min=0.7),
    f1=ShareGate(min=0.65),
    sharpe=MinGate(min=0.0),
    deflated_sharpe=ShareGate(min=0.95),
    overfitting=MaxGate(max=0.5),
    expectancy=MinGate(min=0.0),
    profit_factor=MinGate(min=1.2),
    win_rate=ShareGate(min=0.4),
    kelly=MinGate(min=0.0),
    distribution=DistributionGate(),
    leakage=LeakageGate(),
    max_degradation="10%",
    delta=DeltaGate(max=0.05),
)
