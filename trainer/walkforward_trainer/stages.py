"""What every stage shares: its lines in the log, and the store's errors in the words of a run."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from walkforward_core.errors import Forbidden, NotFound, StoreError, Unavailable
from walkforward_trainer.errors import BadConfiguration, Reason, Transient
from walkforward_trainer.logs import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["STAGES", "follow", "stage", "store_errors"]

T = TypeVar("T")
log = logging.getLogger("walkforward.trainer")

STAGES: Final = (
    ("bars", "ticks", "trades", "samples", "history"),
    ("quality",),
    ("features", "joins"),
    ("labels",),
    ("eligibility",),
    ("costs",),
    ("models", "tuning"),
    ("parity",),
    ("evidence", "leakage", "forensic"),
    ("gates",),
    ("reference",),
    ("report",),
    ("golden",),
    ("bundle",),
)
"""Stages of a whole run in their order, of which data and recipe have one or several; one that is rejected or dry ends before the last.

What follows a run (audit, retention, tracking) has no number.
"""
QUIET_S: Final = 2.0
"""Seconds between two lines of one loop."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log that the stage ``name`` begins, with its place in :data:`STAGES`, and how long it took or that it failed."""
    number = next((index for index, names in enumerate(STAGES, start=1) if name in names), None)
    place = {} if number is None else {"number": number, "of": len(STAGES)}
    title = f"stage {place['number']} of {place['of']}, {name}" if place else f"stage {name}"
    began = time.perf_counter()
    log.info("%s", title, extra={"stage": name, "fields": place, "turn": Turn.BEGINS})
    done = False
    try:
        yield
        done = True
    finally:
        seconds = time.perf_counter() - began
        fields = {**place, "ms": round(1_000 * seconds), "elapsedMs": round(1_000 * _elapsed())}
        level, how = (logging.INFO, "took") if done else (logging.ERROR, "failed after")
        log.log(
            level,
            "%s, %s %s; %s since the start",
            title,
            how,
            _span(seconds),
            _span(_elapsed()),
            extra={"stage": name, "fields": fields, "turn": Turn.DONE if done else Turn.FAILED},
        )


def follow(what: str, items: Sequence[T], *, clock: Callable[[], float] = time.perf_counter) -> Iterator[T]:
    """Yield ``items``; log how many are done and about when the rest will be, at most one line every :data:`QUIET_S` seconds.

    The rest is expected to take as long an item as those that are done.
    """
    began = said = clock()
    for done, item in enumerate(items, start=1):
        yield item
        now = clock()
        if now - said >= QUIET_S and done < len(items):
            said = now
            left = (now - began) / done * (len(items) - done)
            fields = {"done": done, "of": len(items), "etaMs": round(1_000 * left)}
            log.info("%s %d of %d done, about %s left", what, done, len(items), _span(left), extra={"fields": fields})


def _elapsed() -> float:
    """Return the seconds since this process began to log."""
    return logging.LogRecord("", logging.INFO, "", 0, "", None, None).relativeCreated / 1_000


def _span(seconds: float) -> str:
    """Return ``seconds`` for a person.

    >>> _span(0.0123), _span(4.26), _span(75.0), _span(3_700.0)
    ('12 ms', '4.3 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 1:
        return f"{1_000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def store_errors(field: str) -> Iterator[None]:
    """Turn errors of the store at the address in ``field`` into those of a run: worth another try, or to be corrected."""
    try:
        yield
    except Unavailable as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"{field}: {error}") from error
    except Forbidden as error:
        raise BadConfiguration(Reason.FORBIDDEN, f"{field}: {error}") from error
    except NotFound as error:
        raise BadConfiguration(Reason.STORE_REFUSED, f"{field}: {error}; create the bucket, or correct the address") from error
    except StoreError as error:
        raise BadConfiguration(Reason.STORE_REFUSED, f"{field}: {error}") from error
