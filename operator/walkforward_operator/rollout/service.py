"""The reconciler of ModelRollouts: observe → decide → act → write status.

What the watches brought is looked at first; as long as it asks for nothing, no request is made. An abort is carried out on it at
once, since its write of the routing document holds only on the version that was seen; so is what changes nothing but words, whose status
holds only on the version that was seen as well. For everything else the API server is asked and decided upon anew. Nothing here waits
for pods, for the object store or for the ledger: they wake the rollout when they have news.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from walkforward_operator.cluster.errors import Conflict, Forbidden, NotFound
from walkforward_operator.cluster.kinds import ROLLOUT
from walkforward_operator.cluster.namespaces import goes
from walkforward_operator.rollout.act import Acts, Failed
from walkforward_operator.rollout.clock import millis
from walkforward_operator.rollout.decide import decide
from walkforward_operator.rollout.judge import judge
from walkforward_operator.rollout.memory import Memory
from walkforward_operator.rollout.model import Emit, Record
from walkforward_operator.rollout.observe import read_subject
from walkforward_operator.rollout.see import Eyes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from walkforward_operator.bundles import Bundles
    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Cluster, Reader
    from walkforward_operator.cluster.store import Store
    from walkforward_operator.events import Events
    from walkforward_operator.evidence.client import Pods
    from walkforward_operator.ledger import LedgerBook
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.reconciler import Key
    from walkforward_operator.rollout.judge import Judge
    from walkforward_operator.rollout.model import Decision
    from walkforward_operator.rollout.observe import Subject
    from walkforward_operator.rollout.see import Seen

__all__ = ["Attendance", "RolloutReconciler"]

_log: Final = logging.getLogger(__name__)
_PASSES: Final = 20
_TURNS: Final = 16
_TURN_S: Final = 2.0
_NEW_MS: Final = 10_000
"""What was made together comes by several watches: so young, a rollout is not told that something is missing before it was asked for."""
_VERDICTS: Final = {"Pass": 1.0, "NoData": 0.0, "Fail": -1.0}


class Attendance(Protocol):
    """Knows when nobody was watching; :class:`walkforward_operator.lease.LeaseElection` is one."""

    def unattended_ms(self, since_ms: int) -> int:
        """Return for how many milliseconds after ``since_ms`` nobody held the Lease."""
        ...


class RolloutReconciler:
    """A :class:`walkforward_operator.reconciler.Reconciler`; ``wake`` puts a key into its queue, ``now_ms`` gives epoch milliseconds."""

    kind: Kind = ROLLOUT

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        pods: Pods,
        bundles: Bundles,
        ledger: LedgerBook,
        events: Events,
        attendance: Attendance,
        metrics: Metrics,
        wake: Callable[[Key], None],
        now_ms: Callable[[], int],
        judge: Judge = judge,
    ) -> None:
        self._judge = judge
        self._turns = asyncio.Semaphore(_TURNS)
        self._cluster = cluster
        self._store = store
        self._pods = pods
        self._ledger = ledger
        self._metrics = metrics
        self._wake = wake
        self._now_ms = now_ms
        self._eyes = Eyes(cluster, bundles, ledger, attendance)
        self._acts = Acts(cluster, store, ledger, events, metrics, now_ms)
        self._memories: dict[Key, Memory] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Bring one ModelRollout where its spec wants it; return after how many seconds to look again."""
        hint = await read_subject(self._store, key)
        if hint is None:
            await self._forget(key)
            return None
        memory = await self._remember(key, hint)
        wait = memory.not_before - asyncio.get_running_loop().time()
        if wait > 0:
            return wait
        seen, decision = await self._decide(self._store, hint, memory)
        if not _asks(decision, hint):
            return await self._tend(key, memory, seen, decision)
        if decision.first:
            try:
                return await self._carry_out(key, memory, hint, seen, decision)
            except (Conflict, NotFound) as error:
                _log.info("%s: decided on an old state (%s); decided again", key, error)
        elif seen.loading:
            return await self._tend(key, memory, seen, decision)
        act = self._say if _words_only(decision, hint, self._now_ms()) else self._act_live
        del seen, decision  # a thousand may wait for their turn: what they saw is old by then, and takes memory
        return await self._await_turn(lambda: act(key, hint, memory))

    async def _await_turn(self, act: Callable[[], Awaitable[float | None]]) -> float | None:
        """Go on with requests; a few rollouts at a time, so that no answer comes late for all of them.

        Whoever waits long looks again in between: what has become an abort by then waits for nobody.
        """
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            return 0.0
        try:
            return await act()
        finally:
            self._turns.release()

    async def _say(self, key: Key, hint: Subject, memory: Memory) -> float | None:
        """Write what is decided on the watches' word; where that is old, or more than words by now, ask the API server after all."""
        seen, decision = await self._decide(self._store, hint, memory)
        if not _words_only(decision, hint, self._now_ms()):
            return await self._act_live(key, hint, memory)
        try:
            return await self._carry_out(key, memory, hint, seen, decision)
        except (Conflict, NotFound, Forbidden) as error:
            _log.info("%s: decided on an old state (%s); decided again", key, error)
            return await self._act_live(key, hint, memory)

    async def _act_live(self, key: Key, hint: Subject, memory: Memory) -> float | None:
        """Ask the API server, decide on what it has, and act."""
        try:
            live = await read_subject(self._cluster, key)
            if live is None or live.rollout.uid != hint.rollout.uid:
                return None  # the watch is about to say so
            self._store.put(ROLLOUT, live.body)
            seen, decision = await self._decide(self._cluster, live, memory)
            return await self._carry_out(key, memory, live, seen, decision)
        except Forbidden as error:
            if not await goes(self._cluster, key.namespace):
                raise
            # the rights went with the namespace's RoleBindings: nothing can be decided, and nothing may hold the deletion up
            _log.info("%s: its namespace is being deleted (%s); let go", key, error)
            await self._acts.let_go(hint)
            await self._forget(key)
            return None

    async def close(self) -> None:
        """Ask no pod any more."""
        await asyncio.gather(*(memory.attendant.stop() for memory in self._memories.values()))

    async def _decide(self, reader: Reader, subject: Subject, memory: Memory) -> tuple[Seen, Decision]:
        seen = await self._eyes.see(reader, subject, memory)
        return seen, decide(subject.rollout, subject.status, seen.observation, self._now_ms(), judge=self._judge)

    async def _carry_out(self, key: Key, memory: Memory, subject: Subject, seen: Seen, decision: Decision) -> float | None:
        """Do what was decided, in its order; what a failure leaves undone is decided upon again."""
        polled = memory.attendant.poll_age()
        try:
            did = await self._acts.carry_out(memory, subject, seen, decision)
        except Failed as failure:
            delay = memory.refused(str(failure))
            _log.warning("%s: %s; again in %.1f s", key, failure, delay)
            return delay
        if polled is not None:
            self._metrics.decision_lag.observe(polled)
        if not did:
            return await self._tend(key, memory, seen, decision)
        memory.passes += 1
        if memory.passes > _PASSES:  # two decisions that undo each other must not turn in a circle at full speed
            _log.error("%s: %d writes in a row without coming to rest", key, memory.passes)
            return 5.0
        return 0.0  # what was seen is no longer so: look again, at once

    async def _tend(self, key: Key, memory: Memory, seen: Seen, decision: Decision) -> float | None:
        """Do what needs no decision: records, pushes, questions to the pods, metrics; return when to look again, in seconds."""
        memory.passes = 0
        for action in decision.then:
            if isinstance(action, Record):
                self._ledger.add(seen.ref, action, wake=memory.wake)
        memory.attendant.attend(seen.need)
        again = await self._acts.push(memory, seen)
        self._measure(key, memory, seen, decision)
        waits = [again] if again is not None else []
        if decision.requeue_after_ms is not None:
            waits.append(max(decision.requeue_after_ms, 0) / 1000)
        return min(waits, default=None)

    async def _remember(self, key: Key, subject: Subject) -> Memory:
        known = self._memories.get(key)
        if known is not None and known.uid == subject.rollout.uid:
            return known
        if known is not None:
            await self._forget(key)

        def wake() -> None:
            self._wake(key)

        memory = Memory.of(subject.rollout.uid, self._pods, self._cluster, metrics=self._metrics, wake=wake)
        self._memories[key] = memory
        return memory

    async def _forget(self, key: Key) -> None:
        memory = self._memories.pop(key, None)
        if memory is not None:
            await memory.attendant.stop()
            self._ledger.forget(memory.uid)
            self._metrics.forget(*key)

    def _measure(self, key: Key, memory: Memory, seen: Seen, decision: Decision) -> None:
        status = decision.status
        self._metrics.weight.labels(*key).set(status.weight)
        held = status.walk.held_since if status.walk is not None else None
        self._metrics.held.labels(*key).set((self._now_ms() - millis(held)) / 1000 if held else 0.0)
        if status.phase is not memory.phase:
            self._metrics.set_phase(*key, status.phase, before=memory.phase)
            memory.phase = status.phase
        for gate in status.gates:
            self._metrics.gate_verdict.labels(*key, gate.name).set(_VERDICTS[gate.verdict])
            if gate.value is not None:
                self._metrics.gate_value.labels(*key, gate.name).set(gate.value)
        took = memory.abort_verified(seen)
        if took is not None:
            self._metrics.abort_seconds.observe(took)
            self._metrics.abort_latency.labels(*key).set(took)


def _asks(decision: Decision, subject: Subject) -> bool:
    """Whether anything has to be written into the cluster; a record is asked for until it is stored, and goes elsewhere."""
    return bool(decision.first) or decision.status != subject.status or any(not isinstance(action, Record) for action in decision.then)


def _words_only(decision: Decision, subject: Subject, now_ms: int) -> bool:
    """Whether nothing is at stake but what people read: no walk, no write of the document planned or asked for, no new alarm."""
    old, new, rollout = subject.status, decision.status, subject.rollout
    if decision.first or rollout.deleting_since_ms is not None or now_ms - rollout.created_ms <= _NEW_MS:
        return False
    still = old.walk is None and new.walk is None and old.routing.pending is None and old.routing == new.routing
    first = old.observed_generation < 0
    return still and old.stable == new.stable and all(isinstance(one, Emit) and (first or not one.warning) for one in decision.then)
