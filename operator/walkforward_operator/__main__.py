"""``walkforward-operator``: reads the environment, runs until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from walkforward_core.runs import ExitCode
from walkforward_operator.app import run
from walkforward_operator.logs import configure
from walkforward_operator.settings import Settings, SettingsError

__all__ = ["main"]


def main() -> int:
    """Run the operator; 78 when the environment is wrong, 70 when a part of it ended, 0 after SIGTERM."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        print(f"walkforward-operator: {error}", file=sys.stderr)
        return ExitCode.BAD_CONFIGURATION
    configure(settings.log_level)
    try:
        asyncio.run(run(settings))
    except BaseExceptionGroup as group:
        logging.getLogger(__name__).critical("ended: %s", "; ".join(str(error) for error in group.exceptions), exc_info=group)
        return ExitCode.BUG
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
