"""The alias ``champion`` of a registered model in MLflow: it follows the model that a rollout has live. A mirror for people.

Level-triggered and beside everything else: what the watches brought is compared with what was last written, and MLflow is asked only
where the two differ. Nothing waits for it, nothing is decided by it, and a restart at most says again what is so already.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from walkforward_core.errors import WalkforwardError
from walkforward_operator.cluster.kinds import RETRAIN, ROLLOUT
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.model import Emit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.events import Events

__all__ = ["ALIAS", "Champions", "Registry", "RegistryError", "wanted"]

_log: Final = logging.getLogger(__name__)
ALIAS: Final = "champion"
EVERY_S: Final = 10.0
RETRY_S: Final = (10.0, 30.0, 60.0, 300.0)


class RegistryError(WalkforwardError):
    """MLflow did not do as asked; the message has its answer."""


class Registry(Protocol):
    """A registry of models; both methods raise :class:`RegistryError` and nothing else."""

    async def version_of(self, model: str, *, version: str, digest: str) -> str:
        """Return the number of the registered version that is of this bundle."""
        ...

    async def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let ``alias`` name a registered version."""
        ...


class Wanted(NamedTuple):
    """Which bundle the alias of a registered model is to name."""

    model: str
    version: str
    digest: str


@dataclass(slots=True)
class _Try:
    """How far one rollout's wish has come."""

    wanted: Wanted
    done: bool = False
    failures: int = 0
    not_before: float = 0.0
    said: str = ""


class Known(Protocol):
    """What the watches brought."""

    def all(self, kind: Kind) -> Iterator[Object]:
        """Yield every object of a kind, of every namespace."""
        ...


class Champions:
    """Keeps the aliases; ``leading`` is asked before each look, ``clock`` gives seconds that only grow."""

    def __init__(
        self, known: Known, registry: Registry, events: Events, *, leading: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        self._known = known
        self._registry = registry
        self._events = events
        self._leading = leading
        self._clock = clock
        self._tries: dict[str, _Try] = {}

    async def run(self) -> None:
        """Look every ten seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._leading():
                await self.look()

    async def look(self) -> None:
        """Move every alias that is not where it should be."""
        bodies = {body["metadata"]["uid"]: body for body in self._known.all(ROLLOUT)}
        found = wanted(list(bodies.values()), list(self._known.all(RETRAIN)))
        self._tries = {uid: one for uid, one in self._tries.items() if uid in found}
        for uid, wish in found.items():
            known = self._tries.get(uid)
            if known is None or known.wanted != wish:
                known = self._tries[uid] = _Try(wish)
            if not known.done and self._clock() >= known.not_before:
                await self._move(bodies[uid], known)

    async def _move(self, rollout: Object, known: _Try) -> None:
        wish = known.wanted
        try:
            number = await self._registry.version_of(wish.model, version=wish.version, digest=wish.digest)
            await self._registry.set_alias(wish.model, ALIAS, number)
        except RegistryError as error:
            known.not_before = self._clock() + RETRY_S[min(known.failures, len(RETRY_S) - 1)]
            known.failures += 1
            if str(error) != known.said:
                known.said = str(error)
                message = f"the alias {ALIAS} of {wish.model!r} stays where it is, tried again: {error}"
                await self._events.emit(rollout, Emit(Reason.CHAMPION_NOT_MOVED, message, warning=True))
            return
        known.done = True
        message = f"{wish.version} is the {ALIAS} of {wish.model!r}, version {number}"
        _log.info("%s/%s: %s", rollout["metadata"]["namespace"], rollout["metadata"]["name"], message)
        await self._events.emit(rollout, Emit(Reason.CHAMPION_MOVED, message))


def wanted(rollouts: list[Object], retrains: list[Object]) -> dict[str, Wanted]:
    """Return which bundle each rollout, by its UID, wants to be champion: what it has live while nothing is on trial.

    A model in its watch is no champion yet. Where several rollouts follow a retrain, the one that ``spec.baselineFrom`` names speaks for
    it, and without that none.
    """
    models = {(body["metadata"]["namespace"], body["metadata"]["name"]): body["spec"] for body in retrains}
    followers: dict[tuple[str, str], list[Object]] = {}
    for body in rollouts:
        reference = body["spec"]["source"].get("retrainRef")
        if reference is not None:
            followers.setdefault((body["metadata"]["namespace"], reference["name"]), []).append(body)
    found = {}
    for key, bodies in followers.items():
        spec = models.get(key, {})
        model = (spec.get("tracking") or {}).get("registeredModel")
        named = [body for body in bodies if body["metadata"]["name"] == spec.get("baselineFrom")]
        speaker = named or bodies
        live = _live(speaker[0])
        if model is not None and live is not None and len(speaker) == 1:
            found[str(speaker[0]["metadata"]["uid"])] = Wanted(model, *live)
    return found


def _live(rollout: Mapping[str, Any]) -> tuple[str, str] | None:
    status = rollout.get("status") or {}
    stable = status.get("stable") or {}
    resting = not status.get("walk") and not (status.get("routing") or {}).get("pending")
    return (stable["version"], stable["digest"]) if resting and stable.get("version") and stable.get("digest") else None
