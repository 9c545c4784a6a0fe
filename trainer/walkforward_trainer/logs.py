"""The run's log on standard error: JSON lines where a machine reads, text where a person does; secrets in neither.

A JSON line has the operator's names (``time``, ``level``, ``logger``, ``message``, ``exception``) and the run's own: ``run``, ``retrain``,
``stage`` and, where there are figures, ``fields``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FORMAT_VARIABLE", "LogFormat", "RunLog", "Turn", "logging_to_stderr", "without_secrets"]

FORMAT_VARIABLE: Final = "WALKFORWARD_LOG_FORMAT"
LIBRARIES: Final = ("boto3", "botocore", "urllib3", "s3transfer", "optuna", "mlflow", "ccxt", "matplotlib")
"""Of these only warnings are shown."""
SECRET_NAME: Final = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY|DSN", re.IGNORECASE)
SHORTEST_SECRET: Final = 6
"""A shorter value would blank ordinary words."""
USER_INFO: Final = re.compile(r"(?<=://)([^/@\s:]*):([^/\s]+)@")
HIDDEN: Final = "***"


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"
    TEXT = "text"


class Turn(Enum):
    """What a line says of its stage."""

    BEGINS = "begins"
    DONE = "done"
    FAILED = "failed"


class RunLog(logging.Formatter):
    """Lines of one run. ``run`` and ``retrain`` may become known later; the stage is taken from the lines that stages write."""

    def __init__(self, kind: LogFormat, env: Mapping[str, str]) -> None:
        super().__init__()
        self.kind = kind
        self.run = ""
        self.retrain = ""
        self._stages: list[str] = []
        self._failed = ""
        self._secrets = sorted(_secrets(env), key=len, reverse=True)

    def of(self, run: str, retrain: str) -> None:
        """Write ``run`` and ``retrain`` (namespace/name) into every line from now on."""
        self.run, self.retrain = run, retrain

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``, without its line break."""
        stage = getattr(record, "stage", self._failed or (self._stages[-1] if self._stages else ""))
        self._turn(getattr(record, "turn", None), stage)
        return self._json(record, stage) if self.kind is LogFormat.JSON else self._text(record)

    def _turn(self, turn: Turn | None, stage: str) -> None:
        """Follow the stages: within one another, and the one that failed until another begins or ends."""
        if turn is Turn.BEGINS:
            self._stages.append(stage)
            self._failed = ""
        elif turn is not None and self._stages:
            self._stages.pop()
            self._failed = (self._failed or stage) if turn is Turn.FAILED else ""

    def _json(self, record: logging.LogRecord, stage: str) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "run": self.run,
            "retrain": self.retrain,
            "stage": stage,
            "message": self._shown(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if fields:
            entry["fields"] = fields
        if record.exc_info:
            entry["exception"] = self._shown(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)

    def _text(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        line = f"{clock} {self.run or '-'} {level}{record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return self._shown(line)

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return without_secrets(text)


def without_secrets(text: str) -> str:
    """Return ``text`` with the password of every address in it hidden.

    >>> without_secrets("postgresql://ann:hunter2@db/trades")
    'postgresql://ann:***@db/trades'
    """
    return USER_INFO.sub(rf"\1:{HIDDEN}@", text)


@contextmanager
def logging_to_stderr(env: Mapping[str, str] = os.environ, *, terminal: bool | None = None) -> Iterator[RunLog]:
    """Log to standard error while the context lasts; JSON unless ``terminal`` (default: whether it is one) or the environment says text.

    Raises
    ------
    BadConfiguration
        ``WALKFORWARD_LOG_FORMAT`` is neither json nor text.
    """
    asked = env.get(FORMAT_VARIABLE, "")
    person = sys.stderr.isatty() if terminal is None else terminal
    kind = _format(asked) if asked else LogFormat.TEXT if person else LogFormat.JSON
    lines = RunLog(kind, env)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before, logging.INFO) or logging.INFO)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    try:
        yield lines
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(before)


def _format(asked: str) -> LogFormat:
    try:
        return LogFormat(asked.lower())
    except ValueError:
        message = f"{FORMAT_VARIABLE} is {asked!r}: write json or text, or leave it out"
        raise BadConfiguration(Reason.SPEC_INVALID, message) from None


def _secrets(env: Mapping[str, str]) -> set[str]:
    return {value for name, value in env.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
