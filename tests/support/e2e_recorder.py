"""Records a scenario: every routing document and every status of its rollout, with the time at which it was seen."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2e_kube import PATIENCE, Follower
from e2e_rules import Seen, broken_rules, exposure, weights

from walkforward_core.names import ROUTING_KEY, routing_name
from walkforward_core.routing import RoutingDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Recorder"]

Object = dict[str, Any]


@dataclass
class Recorder:
    """Follows the routing ConfigMap of ``target`` and the rollout ``name``; waits are woken by what is seen."""

    kubeconfig: Path
    namespace: str
    target: str
    name: str
    history: list[Seen] = field(default_factory=list)
    phases: list[tuple[float, str]] = field(default_factory=list)
    rollout: Object = field(default_factory=dict)
    written_by_hand: set[str] = field(default_factory=set)
    _digest: str = ""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _followers: list[Follower] = field(default_factory=list)

    def start(self) -> None:
        base = f"/namespaces/{self.namespace}"
        self._followers = [
            Follower(self.kubeconfig, f"/api/v1{base}/configmaps", routing_name(self.target), self._document_seen),
            Follower(self.kubeconfig, f"/apis/walkforward.dev/v1alpha1{base}/modelrollouts", self.name, self._rollout_seen),
        ]

    def stop(self) -> None:
        for follower in self._followers:
            follower.stop()

    @property
    def status(self) -> Object:
        """The rollout's newest status, empty where there is none."""
        return dict(self.rollout.get("status", {}))

    @property
    def document(self) -> RoutingDocument:
        """The newest routing document."""
        return self.history[-1].document

    @property
    def weight(self) -> int:
        """Percent of the keys that the model on trial answers now."""
        return exposure(self.document)[1] if self.history else 0

    def wait(self, what: str, holds: Callable[[], object], seconds: float, never: Callable[[], str] | None = None) -> None:
        """Wait until ``holds``; ``never`` says in words why it cannot come any more."""
        end = time.monotonic() + seconds * PATIENCE
        with self._changed:
            while not holds():
                why = never() if never is not None else ""
                assert not why, f"{what}: {why}"
                rest = end - time.monotonic()
                assert rest > 0, f"{what}: not within {seconds:.0f} s; {self.told()}"
                self._changed.wait(min(rest, 0.5))

    def told(self) -> str:
        """The state in one line."""
        status = self.status
        gates = "; ".join(f"{gate['name']} {gate['verdict']}: {gate.get('message', '')}" for gate in status.get("gates", ()))
        keys = ("phase", "reason", "step", "message")
        return f"weight {self.weight}, {', '.join(f'{key} {status.get(key)!r}' for key in keys)}, gates [{gates}]"

    def weights(self, version: str) -> list[int]:
        return weights(self.history, version)

    def broken_rules(self, plan: Sequence[int]) -> list[str]:
        return broken_rules(self.history, plan)

    def _document_seen(self, at: float, found: Object | None) -> None:
        with self._changed:
            text = (found or {}).get("data", {}).get(ROUTING_KEY, "")
            digest = hashlib.sha256(text.encode()).hexdigest()
            if text and digest != self._digest:
                self._digest = digest
                self.history.append(Seen(at, RoutingDocument.parse(text.encode()), digest in self.written_by_hand))
            self._changed.notify_all()

    def _rollout_seen(self, at: float, found: Object | None) -> None:
        with self._changed:
            self.rollout = found or {}
            phase = self.status.get("phase", "")
            if not self.phases or self.phases[-1][1] != phase:
                self.phases.append((at, phase))
            self._changed.notify_all()
