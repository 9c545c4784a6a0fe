"""Logs as JSON lines on standard error, one object each."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["configure"]


class _JsonLines(logging.Formatter):
    """time, level, logger, message and, where there is one, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(level: str) -> None:
    """Send everything from ``level`` on to standard error; what libraries say of themselves from WARNING on only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("kopf", "botocore", "boto3", "urllib3", "asyncio", "aiohttp", "kubernetes"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # it runs in a thread of ours, and the signals are ours
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
