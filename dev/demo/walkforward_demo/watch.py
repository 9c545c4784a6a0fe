"""What the cluster says of itself, read again every second, for the view and for the acts that wait."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from walkforward_demo.shell import CommandError, Shell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ActFailed", "Snapshot", "Watch"]

Object = dict[str, Any]


class ActFailed(Exception):  # noqa: N818 - said of an act
    """The cluster did not come to what an act must end with."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Retrains and rollouts by name, and the last word of every replayer."""

    retrains: dict[str, Object] = field(default_factory=dict)
    rollouts: dict[str, Object] = field(default_factory=dict)
    replayers: dict[str, Object] = field(default_factory=dict)

    def retrain(self, name: str) -> Object:
        """Return the status of a retrain, empty where there is none yet."""
        return dict(self.retrains.get(name, {}).get("status", {}))

    def rollout(self, name: str) -> Object:
        """Return the status of a rollout, empty where there is none yet."""
        return dict(self.rollouts.get(name, {}).get("status", {}))

    def weight(self, name: str) -> int:
        """Return the weight that was last applied."""
        return int((self.rollout(name).get("routing", {}).get("applied") or {}).get("weight", 0))


@dataclass(slots=True)
class Watch:
    """Reads the cluster in a thread; ``now`` is the newest snapshot, ``weights`` every weight that each rollout has had."""

    shell: Shell
    on_change: Callable[[Snapshot], None]
    replayers: list[str] = field(default_factory=list)
    now: Snapshot = field(default_factory=Snapshot)
    weights: dict[str, list[int]] = field(default_factory=dict)
    trouble: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=20)

    def wait(
        self, what: str, holds: Callable[[Snapshot], bool], *, seconds: float, never: Callable[[Snapshot], str] | None = None
    ) -> float:
        """Wait until ``holds``; return the seconds that it took.

        Raises
        ------
        ActFailed
            Time is up, or ``never`` returned why it cannot come any more.
        """
        began = time.monotonic()
        while not holds(self.now):
            gone = time.monotonic() - began
            why = never(self.now) if never is not None else ""
            if why:
                raise ActFailed(f"{what}: {why}")
            if gone > seconds:
                raise ActFailed(f"{what}: not within {seconds:.0f} s. {self.trouble}".strip())
            time.sleep(0.3)
        return time.monotonic() - began

    def _loop(self) -> None:
        while not self._stop.wait(1.0):
            try:
                self.now = self._read()
                self.trouble = ""
            except (CommandError, TimeoutError, json.JSONDecodeError) as error:
                self.trouble = str(error)[-500:]
                continue
            for name in self.now.rollouts:
                seen = self.weights.setdefault(name, [])
                weight = self.now.weight(name)
                if not seen or seen[-1] != weight:
                    seen.append(weight)
            self.on_change(self.now)

    def _read(self) -> Snapshot:
        found = self.shell.get("modelretrains.walkforward.dev,modelrollouts.walkforward.dev", "-n", "fx")
        replayers = {}
        for name in list(self.replayers):
            lines = self.shell.kubectl("logs", "-n", "fx", f"job/{name}", "--tail=1").strip().splitlines()
            if lines and lines[-1].startswith("{"):
                replayers[name] = json.loads(lines[-1])
        return Snapshot(
            {one["metadata"]["name"]: one for one in found if one["kind"] == "ModelRetrain"},
            {one["metadata"]["name"]: one for one in found if one["kind"] == "ModelRollout"},
            {**self.now.replayers, **replayers},
        )
