"""One rollout's eye on its pods: asks them as often as the moment needs, keeps what they said, and has the rollout looked at.

While a document is on its way to the pods, those that lag are asked every tenth of a second; in a walk every pod is asked every 2 s,
with its statistics; at rest, when every pod has said that it follows, nobody is asked. Nothing here decides, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.errors import WalkforwardError
from walkforward_core.pods import ModelState
from walkforward_operator.cluster.errors import ClusterError
from walkforward_operator.evidence.client import PodSilent
from walkforward_operator.evidence.keeper import BANK_S, Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.pods import PodReport
    from walkforward_operator.cluster.protocol import Cluster
    from walkforward_operator.evidence.client import Pods
    from walkforward_operator.evidence.keeper import WalkKey
    from walkforward_operator.metrics import Metrics

__all__ = ["Attendant", "Need", "Place"]

_log: Final = logging.getLogger(__name__)
POLL_S: Final = 2.0
_QUICK_S: Final = 0.1
_QUICK_ROUNDS: Final = 30
_REST_S: Final = 30.0
_MOVING: Final = {ModelState.LOADING, ModelState.PROVING}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a running pod can be asked."""

    uid: str
    address: str
    restarts: int
    terminating: bool


@dataclass(frozen=True, slots=True)
class Need:
    """What has to be known: whether every pod follows the document, and the evidence of ``walk`` where one is under way."""

    digest: str = ""
    places: tuple[Place, ...] = ()
    pod_uids: frozenset[str] = frozenset()
    """Every pod of the target, running or not: the sources of the others are closed."""
    walk: WalkKey | None = None
    phase_from: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a pod said, when (on the loop's clock), and how often it had been restarted by then."""

    report: PodReport
    at: float
    restarts: int


class Attendant:
    """Asks the pods of one rollout; ``wake`` has the rollout looked at."""

    def __init__(self, pods: Pods, cluster: Cluster, *, metrics: Metrics, wake: Callable[[], None]) -> None:
        self._pods = pods
        self._cluster = cluster
        self._metrics = metrics
        self._wake = wake
        self._need = Need()
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rounds = 0
        self._saved_at = 0.0
        self._unbanked = ""
        """Why the last bank was not written; said once, not with every try."""
        self._stats_at: dict[str, float] = {}
        self.heard: dict[str, Heard] = {}
        self.keeper: Keeper | None = None

    def attend(self, need: Need) -> None:
        """Take note of what has to be known now, and begin to ask where something is missing."""
        if need == self._need and self._task is not None and not self._task.done():
            return
        news = need.digest != self._need.digest or need.places != self._need.places or need.walk != self._need.walk
        self._need = need
        self.heard = {uid: heard for uid, heard in self.heard.items() if uid in need.pod_uids}
        if news:
            self._rounds = 0
            self._poked.set()
        if self._busy() and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), name="attendant")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def poll_age(self) -> float | None:
        """Return the age in seconds of the newest statistics of any pod that is there; None before the first."""
        times = [at for uid, at in self._stats_at.items() if uid in self._need.pod_uids]
        return asyncio.get_running_loop().time() - max(times) if times else None

    def _busy(self) -> bool:
        return self._need.walk is not None or bool(self._unsettled())

    def _unsettled(self) -> list[Place]:
        """Return the pods that have not yet said what they will say."""
        if not self._need.digest:
            return []
        return [place for place in self._need.places if not place.terminating and not self._settled(place)]

    def _settled(self, place: Place) -> bool:
        heard = self.heard.get(place.uid)
        if heard is None or heard.restarts != place.restarts or heard.report.applied is None:
            return False
        moving = any(model.state in _MOVING for model in heard.report.models.values())
        return heard.report.applied.digest == self._need.digest and not moving

    async def _run(self) -> None:
        last_full = float("-inf")
        loop = asyncio.get_running_loop()
        while self._busy():
            self._poked.clear()
            need = self._need
            full = need.walk is not None and loop.time() - last_full >= POLL_S * 0.95
            if full:
                last_full = loop.time()
                await self._load(need)
            changed = await self._round(need, full=full)
            if full:
                await self._bank(need)
            if changed or full:
                self._wake()
            self._rounds += 1
            try:
                await asyncio.wait_for(self._poked.wait(), self._pause(last_full))
            except TimeoutError:
                continue

    def _pause(self, last_full: float) -> float:
        quick = _QUICK_S if self._rounds <= _QUICK_ROUNDS else min(_QUICK_S * 1.3 ** (self._rounds - _QUICK_ROUNDS), _REST_S)
        if self._need.walk is None:
            return quick
        until_full = max(0.01, last_full + POLL_S - asyncio.get_running_loop().time())
        return min(quick, until_full) if self._unsettled() else until_full

    async def _round(self, need: Need, *, full: bool) -> bool:
        """Ask every pod, or only those that lag; return whether one of them says something new."""
        asked = need.places if full else self._unsettled()
        answers = await asyncio.gather(*(self._ask(place, need, stats=full) for place in asked))
        return any(answers)

    async def _ask(self, place: Place, need: Need, *, stats: bool) -> bool:
        loop = asyncio.get_running_loop()
        try:
            report = await self._pods.report(place.address)
            if report.pod_uid != place.uid:  # the address is another pod's by now
                return False
            before = self.heard.get(place.uid)
            self.heard[place.uid] = Heard(report, loop.time(), place.restarts)
            if stats and self.keeper is not None:
                counted = await self._pods.stats(place.address, generation=self.keeper.walk.evidence_from)
                if counted.pod_uid == place.uid:
                    self._stats_at[place.uid] = loop.time()
                    self.keeper.absorb(counted, phase_from=need.phase_from)
        except PodSilent as error:
            _log.debug("%s", error)
            return False
        return before is None or before.report != report or before.restarts != place.restarts

    async def _load(self, need: Need) -> None:
        """Load what was banked of the walk, once; until then there is no evidence."""
        if need.walk is None or (self.keeper is not None and self.keeper.walk == need.walk):
            return
        self.keeper = None
        try:
            self.keeper = await Keeper.load(self._cluster, need.walk)
        except ClusterError as error:
            _log.warning("evidence of %s/%s: %s; tried again", need.walk.namespace, need.walk.rollout, error)
        self._saved_at = asyncio.get_running_loop().time()

    async def _bank(self, need: Need) -> None:
        """Close what has vanished, and write what is due."""
        keeper, loop = self.keeper, asyncio.get_running_loop()
        if keeper is None:
            return
        boots = {uid: heard.report.boot for uid, heard in self.heard.items()}
        vanished = keeper.close_vanished(need.pod_uids, boots, phase_from=need.phase_from)
        if not keeper.unbanked or (not vanished and loop.time() - self._saved_at < BANK_S):
            return
        try:
            await keeper.save()
        except (ClusterError, WalkforwardError) as error:
            self._metrics.unbanked.inc()
            if str(error) != self._unbanked:
                _log.warning("evidence of %s/%s not banked: %s; tried again", keeper.walk.namespace, keeper.walk.rollout, error)
            self._unbanked = str(error)
        else:
            self._saved_at, self._unbanked = loop.time(), ""
