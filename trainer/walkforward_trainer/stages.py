"""What every stage shares: its time in the log, and the store's errors in the words of a run."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from walkforward_core.errors import Forbidden, NotFound, StoreError, Unavailable
from walkforward_trainer.errors import BadConfiguration, Reason, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["stage", "store_errors"]

log = logging.getLogger("walkforward.trainer")


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log how long the stage ``name`` took."""
    began = time.perf_counter()
    try:
        yield
    finally:
        log.info("stage %-12s %6.0f ms", name, 1_000 * (time.perf_counter() - began))


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
