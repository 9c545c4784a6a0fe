"""Kubernetes Events, for people: nothing is ever decided on them, so one that cannot be written is dropped."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.names import FIELD_MANAGER, GROUP
from walkforward_operator.cluster.errors import ClusterError, Unreachable
from walkforward_operator.cluster.kinds import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.cluster.protocol import Cluster, Object
    from walkforward_operator.rollout.model import Emit

__all__ = ["Events"]

_log: Final = logging.getLogger(__name__)
_NOTE: Final = 1024
_WAITING: Final = 1000


class Events:
    """Writes Events in the background, in order; the newest are dropped when very many wait."""

    def __init__(self, cluster: Cluster, *, instance: str, now: Callable[[], float]) -> None:
        self._cluster = cluster
        self._instance = instance
        self._now = now
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)

    async def emit(self, about: Object, event: Emit) -> None:
        """Have ``event`` written about the object ``about``; returns at once and raises nothing."""
        try:
            self._waiting.put_nowait(self._body(about, event))
        except asyncio.QueueFull:
            _log.warning("event %s about %s dropped: %d wait", event.reason, about["metadata"]["name"], _WAITING)

    async def run(self) -> None:
        """Write what is emitted, until cancelled."""
        while True:
            body = await self._waiting.get()
            for pause in (1.0, 5.0, None):
                try:
                    await self._cluster.create(EVENT, body, manager=FIELD_MANAGER)
                except Unreachable as error:
                    if pause is None:
                        _log.warning("event %s dropped: %s", body["reason"], error)
                    else:
                        await asyncio.sleep(pause)
                        continue
                except ClusterError as error:
                    _log.info("event %s dropped: %s", body["reason"], error)
                break

    def _body(self, about: Object, event: Emit) -> dict[str, Any]:
        metadata = about["metadata"]
        regarding = {key: about[key] for key in ("apiVersion", "kind")} | {key: metadata[key] for key in ("namespace", "name", "uid")}
        note = event.message if len(event.message) <= _NOTE else f"{event.message[: _NOTE - 1]}…"
        while len(note.encode()) > _NOTE:  # the API server counts bytes
            note = f"{note[:-2]}…"
        return {
            "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}"},
            "eventTime": datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance[:128],
            "action": event.reason,
            "reason": event.reason,
            "note": note,
            "type": "Warning" if event.warning else "Normal",
            "regarding": regarding,
        }
