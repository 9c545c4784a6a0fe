"""Whether a rollout may take up the bundle that it is pinned to: not while retention has it marked (:mod:`walkforward_core.expiry`).

What a run has been told to be in use was so when it began. A pin that came later has to look at the mark, and so does every edit of it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from walkforward_core.errors import NotFound, WalkforwardError
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pin", "Reads", "look"]

_log: Final = logging.getLogger(__name__)
_LIMIT: Final = 64 * 1024
_RETRY_S: Final = 10.0


class Reads(Protocol):
    """Where objects are read from; :class:`walkforward_operator.objects.Objects` is one."""

    async def read(self, uri: str, *, limit: int) -> bytes:
        """Return the bytes of an object of at most ``limit`` bytes; raises a ``StoreError``."""
        ...


@dataclass(slots=True)
class Pin:
    """What is known of the mark of one bundle (``folder`` ends in a slash) since the spec has been of ``generation``.

    ``free``: there was none since. Once free always free: from then on every run is told that the bundle is in use. ``message`` says why
    not, empty until the first answer.
    """

    generation: int
    folder: str
    free: bool = False
    message: str = ""
    due: float = 0.0
    task: asyncio.Task[None] | None = None


def look(objects: Reads, known: Pin | None, *, generation: int, uri: str, wake: Callable[[], None]) -> Pin:
    """Return what is known of the mark, and look for it in the background where it is not; ``wake`` is called when there is more."""
    loop, folder = asyncio.get_running_loop(), f"{uri.rstrip('/')}/"
    pin = known if known is not None and (known.generation, known.folder) == (generation, folder) else Pin(generation, folder)
    idle = pin.task is None or pin.task.done()
    if not pin.free and idle and loop.time() >= pin.due:
        pin.task = loop.create_task(_read(objects, pin, wake), name=f"mark of {folder}")
    return pin


async def _read(objects: Reads, pin: Pin, wake: Callable[[], None]) -> None:
    uri = f"{pin.folder}{EXPIRY}"
    try:
        expiry = Expiry.parse(await objects.read(uri, limit=_LIMIT), source=uri)
    except NotFound:
        pin.free = True
    except WalkforwardError as error:
        pin.message = f"whether retention has marked {pin.folder} cannot be seen: {error}"
    else:
        pin.free = expiry.state is ExpiryState.SPARED
        pin.message = _marked(pin, expiry)
    if not pin.free:
        _log.warning("%s", pin.message)
        loop = asyncio.get_running_loop()
        pin.due = loop.time() + _RETRY_S
        loop.call_later(_RETRY_S, wake)
    wake()


def _marked(pin: Pin, expiry: Expiry) -> str:
    if expiry.state is ExpiryState.REMOVING:
        return f"retention removes {pin.folder} (run {expiry.by}): pin another version"
    return (
        f"retention has marked {pin.folder} (run {expiry.by}): the retrain's next run spares it, since it is pinned now; to have it at "
        "once: walkforward-trainer keep"
    )
