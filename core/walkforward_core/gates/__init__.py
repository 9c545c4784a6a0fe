"""Gates: pure functions of merged evidence that answer Pass, Fail or NoData. No evidence is not a pass.

One module a gate, each with ``NAME``, a frozen config and ``judge(config, evidence, context) -> GateResult``. Definitions, measured error
rates and defaults are in ``docs/reference/gates.md``.
"""

from walkforward_core.gates import error_rate, latency, offline_auc, psi, sharpe
from walkforward_core.gates.error_rate import ErrorRateConfig
from walkforward_core.gates.latency import LatencyConfig
from walkforward_core.gates.offline_auc import OfflineAucConfig
from walkforward_core.gates.psi import PsiConfig
from walkforward_core.gates.reach import Exposure, GateSet, Rates, Unreachable, reachability
from walkforward_core.gates.result import Context, GateReason, GateResult, Signal, SignalKind
from walkforward_core.gates.sharpe import SharpeConfig, SharpeMode

__all__ = [
    "Context",
    "ErrorRateConfig",
    "Exposure",
    "GateReason",
    "GateResult",
    "GateSet",
    "LatencyConfig",
    "OfflineAucConfig",
    "PsiConfig",
    "Rates",
    "SharpeConfig",
    "SharpeMode",
    "Signal",
    "SignalKind",
    "Unreachable",
    "error_rate",
    "latency",
    "offline_auc",
    "psi",
    "reachability",
    "sharpe",
]
