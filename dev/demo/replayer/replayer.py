"""Plays held-out bars as live requests: a desk that trades every bar and reports its outcomes, and clients that ask beside it.

Runs in a pod, from a ConfigMap, with the trainer's image: it needs the shared feature code and client, nothing else. It prints one JSON
line a second. A request counts as failed only when the client library gave up on it; the process then goes on, and ends with status 1.

Market time runs ahead of the wall clock (``BARS_PER_SECOND``), and never twice over the same bar.

With ``ODD_EVERY`` each so-many-th bar brings one more request, in which ``ODD_FEATURE`` is ``ODD_VALUE``: a value that no model has seen.
It carries no client, so that stable answers it, or one of the clients' names where ``ODD_CLIENTS`` is set.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from walkforward_core.client import Client, ClientError
from walkforward_core.features import Bars, compute
from walkforward_core.objectstore import open_store

BAR_MS = 3_600_000
DESK = "desk-1"


@dataclass(slots=True)
class Totals:
    """What was asked, answered and reported since the start."""

    requests: int = 0
    failed: int = 0
    retried: int = 0
    fallback: int = 0
    outcomes: int = 0
    refused: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision of the desk whose outcome is not known yet."""

    receipt: str
    bar: int


@dataclass(frozen=True, slots=True)
class Odd:
    """A value far out of its range, sent with every ``every``-th bar."""

    feature: str
    value: float
    every: int
    named: bool


@dataclass(slots=True)
class Replayer:
    """The desk and the other clients, one bar at a time."""

    client: Client
    bars: Bars
    times: list[int]
    names: list[str]
    matrix: np.ndarray[Any, Any]
    clients: int
    requests_per_bar: int
    symbol: str
    horizon: int
    odd: Odd | None = None
    totals: Totals = field(default_factory=Totals)
    waiting: deque[Pending] = field(default_factory=deque)
    turn: int = 0

    def play(self, bar: int) -> None:
        """Ask for ``bar`` and report the outcomes that it completes."""
        row = {name: float(value) for name, value in zip(self.names, self.matrix[bar], strict=True)}
        price = float(self.bars.close[bar])
        base = float(np.sign(price - self.bars.close[bar - 20]))
        receipt = self.ask(row, DESK, bar, price, base)
        if receipt:
            self.waiting.append(Pending(receipt, bar))
        for _ in range(self.requests_per_bar - 1):
            self.turn += 1
            self.ask(row, f"client-{self.turn % self.clients}", bar, price, base)
        if self.odd is not None and bar % self.odd.every == 0:
            who = f"client-{bar % self.clients}" if self.odd.named else ""
            self.ask({**row, self.odd.feature: self.odd.value}, who, bar, price, base)
        self.report(bar)

    def ask(self, row: dict[str, float], who: str, bar: int, price: float, base: float) -> str:
        """Send one request, return its receipt; a client that gave up is counted, never hidden."""
        self.totals.requests += 1
        named = {"client": who} if who else {}
        try:
            answer = self.client.infer(row, **named, symbol=self.symbol, ts=self.times[bar], price=price, base_position=base)
        except ClientError as error:
            self.totals.failed += 1
            self.totals.failures = [*self.totals.failures[-4:], str(error)]
            return ""
        self.totals.retried += answer.attempts > 1
        self.totals.fallback += answer.fallback
        self.totals.versions[answer.version or "none"] += 1
        return answer.receipt

    def report(self, bar: int) -> None:
        """Report the decisions whose horizon ends with ``bar``; one that crosses a market gap has no outcome."""
        outcomes = []
        while self.waiting and self.waiting[0].bar + self.horizon <= bar:
            pending = self.waiting.popleft()
            then = pending.bar + self.horizon
            if self.times[then] - self.times[pending.bar] == self.horizon * BAR_MS:
                outcomes.append((pending.receipt, float(self.bars.close[then] / self.bars.close[pending.bar] - 1.0)))
        if outcomes:
            try:
                said = self.client.report(outcomes)
            except ClientError as error:
                self.totals.failures = [*self.totals.failures[-4:], f"outcomes: {error}"]
                self.totals.refused += len(outcomes)
                return
            self.totals.outcomes += int(said.get("accepted", 0))
            self.totals.refused += len(said.get("rejected", []))


def load(uri: str) -> tuple[Bars, list[int]]:
    """Return the bars at ``uri`` and the times at which they close, in epoch milliseconds."""
    records = list(csv.DictReader(io.StringIO(open_store(uri, allow_file=False).get(uri).decode())))
    columns = {name: np.array([float(record[name]) for record in records]) for name in ("open", "high", "low", "close", "volume")}
    times = [int(datetime.fromisoformat(record["time"]).timestamp() * 1000) + BAR_MS for record in records]
    return Bars(time=np.array(times, dtype=np.int64), **columns), times


def odd() -> Odd | None:
    """Return the odd value that is asked for, if any."""
    every = int(os.environ.get("ODD_EVERY", "0"))
    if not every:
        return None
    return Odd(os.environ["ODD_FEATURE"], float(os.environ["ODD_VALUE"]), every, named=bool(os.environ.get("ODD_CLIENTS")))


def main() -> int:
    """Play until the bars or the patience of the kubelet end."""
    uri, url, model = os.environ["BARS_URI"], os.environ["SERVER_URL"], os.environ["MODEL"]
    names = os.environ["FEATURES"].split(",")
    first, rate = int(os.environ["FIRST_BAR"]), float(os.environ["BARS_PER_SECOND"])
    bars, times = load(uri)
    replayer = Replayer(
        Client(url, model), bars, times, names, compute(bars, names),
        clients=int(os.environ.get("CLIENTS", "400")), requests_per_bar=int(os.environ.get("REQUESTS_PER_BAR", "24")),
        symbol=os.environ.get("SYMBOL", "EURUSD"), horizon=int(os.environ.get("HORIZON", "5")), odd=odd(),
    )  # fmt: skip
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    began = said = time.monotonic()
    asked = 0
    for bar in range(first, len(times)):
        if stopping:
            break
        replayer.play(bar)
        now = time.monotonic()
        if now - said >= 1.0:
            totals = replayer.totals
            print(json.dumps({
                "bar": bar, "time": times[bar], "left": len(times) - bar - 1, "requests": totals.requests, "failed": totals.failed,
                "retried": totals.retried, "fallback": totals.fallback, "outcomes": totals.outcomes, "refused": totals.refused,
                "rate": round((totals.requests - asked) / (now - said)), "versions": dict(totals.versions), "failures": totals.failures,
            }), flush=True)  # fmt: skip
            said, asked = now, totals.requests
        time.sleep(max(0.0, began + (bar - first + 1) / rate - now))
    totals = replayer.totals
    print(json.dumps({"ended": True, "requests": totals.requests, "failed": totals.failed, "failures": totals.failures}), flush=True)
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
