"""``walkforward-trainer download``: what the command line says, made into a download."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.features import timeframe_ms
from walkforward_core.objectstore import open_store
from walkforward_trainer.data.download import Wanted, download
from walkforward_trainer.data.exchange import Exchange, open_client
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.specfile import instant
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from walkforward_trainer.data.download import Downloaded

__all__ = ["fetch_bars"]

DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def fetch_bars(options: argparse.Namespace, *, allow_file: bool) -> Downloaded:
    """Download what the command line asks for.

    Raises
    ------
    RunError
        An option is none; or as ``download`` does.
    """
    try:
        timeframe_ms(options.timeframe)
    except ValueError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"--timeframe {options.timeframe!r}: {error}") from error
    now_ms = time.time_ns() // 1_000_000
    wanted = Wanted(
        symbol=options.symbol,
        timeframe=options.timeframe,
        since_ms=_instant(options.since, "--since"),
        until_ms=now_ms if options.until is None else _instant(options.until, "--until"),
        to=options.to,
    )
    if wanted.since_ms >= wanted.until_ms:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"--since {options.since} is not before --until {options.until or 'now'}; turn them round"
        )
    with store_errors("--to"):
        store = open_store(options.to, allow_file=allow_file)
    exchange = Exchange(name=options.exchange, client=open_client(options.exchange, _settings(options.settings)), sleep=time.sleep)
    return download(exchange, store, wanted)


def _instant(text: str, option: str) -> int:
    """Return a date, or a time with its zone, in epoch milliseconds."""
    return instant(f"{text}T00:00:00Z" if DATE.fullmatch(text) else text, option)


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"--settings {path}: {error}; give a file with one JSON object") from error
