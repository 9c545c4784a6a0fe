"""The compact view: retrains, rollouts with their gates, and the traffic; redrawn in place on a terminal, a line per change elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from walkforward_demo.watch import Snapshot

__all__ = ["View"]

STYLE = {"Pass": "green", "Fail": "red", "NoData": "yellow"}


@dataclass(slots=True)
class View:
    """Shows what happens. ``say`` prints a line that stays; ``show`` redraws the state of the cluster."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    began: float = field(default_factory=time.monotonic)
    _live: Live | None = None
    _lines: dict[str, str] = field(default_factory=dict)

    def say(self, text: str, style: str = "") -> None:
        """Print a line with the seconds since the start."""
        self.console.print(Text(f"{time.monotonic() - self.began:6.0f} s  {text}", style=style), soft_wrap=True)

    def start(self) -> None:
        """Begin to redraw, on a terminal."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, now: Snapshot) -> None:
        """Draw ``now``."""
        if self._live is not None:
            self._live.update(draw(now))
            return
        for line in describe(now):
            name = line.split("  ", 1)[0]
            if self._lines.get(name) != line:
                self._lines[name] = line
                self.say(line)


def describe(now: Snapshot) -> list[str]:
    """Return one line per object, without what changes every second."""
    lines = [f"retrain {name}  {state(now.retrain(name))}" for name in now.retrains]
    for name in now.rollouts:
        status = now.rollout(name)
        gates = " ".join(f"{gate['name']}={gate['verdict']}" for gate in status.get("gates", []))
        lines.append(f"rollout {name}  {state(status)} weight {now.weight(name)} {gates}")
    return lines


def state(status: dict[str, Any]) -> str:
    """Return phase and reason."""
    return f"{status.get('phase', '-')} {status.get('reason', '')}".strip()


def draw(now: Snapshot) -> RenderableType:
    """Return the view of a snapshot."""
    retrains = Table("RETRAIN", "PHASE", "REASON", "MODEL", "METRICS", box=None, pad_edge=False, header_style="bold")
    for name in now.retrains:
        status = now.retrain(name)
        history = status.get("history", [])
        metrics = history[0].get("metrics", {}) if history else {}
        shown = "  ".join(f"{key} {value:.3f}" for key, value in list(metrics.items())[:3])
        retrains.add_row(
            name, status.get("phase", "-"), status.get("reason", ""), (status.get("latestBundle") or {}).get("version", ""), shown
        )
    rollouts = Table("ROLLOUT", "PHASE", "WEIGHT", "STABLE", "CANDIDATE", "REASON", box=None, pad_edge=False, header_style="bold")
    for name in now.rollouts:
        status = now.rollout(name)
        stable, candidate = (status.get(role) or {} for role in ("stable", "candidate"))
        weight = f"{now.weight(name)} %"
        rollouts.add_row(
            name, status.get("phase", "-"), weight, stable.get("version", ""), candidate.get("version", ""), status.get("reason", "")
        )
    return Group(retrains, Text(), rollouts, Text(), draw_gates(now), Text(), draw_traffic(now))


def draw_gates(now: Snapshot) -> Table:
    """Return the gates of every walk."""
    gates = Table("GATE", "VERDICT", "VALUE", "THRESHOLD", "SAMPLES", "MESSAGE", box=None, pad_edge=False, header_style="bold")
    for name in now.rollouts:
        for gate in now.rollout(name).get("gates", []):
            verdict = Text(gate["verdict"], style=STYLE.get(gate["verdict"], ""))
            value, threshold = (number(gate.get(key)) for key in ("value", "threshold"))
            message = gate.get("message", "")[:80]
            gates.add_row(f"{name}/{gate['name']}", verdict, value, threshold, number(gate.get("samples")), message)
    return gates


def draw_traffic(now: Snapshot) -> Table:
    """Return what the replayers send and who answers."""
    traffic = Table("TRAFFIC", "REQUESTS/S", "REQUESTS", "FAILED", "OUTCOMES", "ANSWERED BY", box=None, pad_edge=False, header_style="bold")
    for name, said in now.replayers.items():
        answered = "  ".join(f"{version} {count}" for version, count in said.get("versions", {}).items())
        figures = (str(said.get(key, "")) for key in ("rate", "requests", "failed", "outcomes"))
        traffic.add_row(name, *figures, answered)
    return traffic


def number(value: float | None) -> str:
    """Return a number as short as it may be."""
    return "" if value is None else f"{value:.4g}"
