"""How a run refuses: each exception knows its exit code and its reason (contract C8).

RunError
├── BadData              65  the bars are not what the spec says, or not enough to learn from
├── BadConfiguration     78  the spec, the addresses or the permissions have to change
├── Transient            75  the same run may go through later
└── Broken               70  a promise of the trainer itself does not hold; a bug
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from walkforward_core import runs
from walkforward_core.errors import WalkforwardError
from walkforward_core.runs import ExitCode

__all__ = ["BadConfiguration", "BadData", "Broken", "Reason", "RunError", "Transient"]


class Reason(StrEnum):
    """Why a run ended as it did."""

    # published, rejected, dry run
    PUBLISHED = "Published"
    ALREADY_PUBLISHED = runs.ALREADY_PUBLISHED
    GATES_FAILED = "GatesFailed"
    NOT_ELIGIBLE = "NotEligible"
    BOOTSTRAP = "Bootstrap"
    WOULD_TRAIN = "WouldTrain"
    CALIBRATED = "Calibrated"
    TOO_FEW_TRADES = "TooFewTrades"
    SMOKE_PASSED = "SmokePassed"
    SMOKE_REJECTED = "SmokeRejected"
    SHARD_PREPARED = "ShardPrepared"
    # bad data
    DATA_NOT_FOUND = "DataNotFound"
    DATA_UNREADABLE = "DataUnreadable"
    DATA_TOO_LARGE = "DataTooLarge"
    COLUMN_MISSING = "ColumnMissing"
    COLUMN_TWICE = "ColumnTwice"
    COLUMN_TYPE = "ColumnType"
    TIME_STAMPS = "TimeStamps"
    SYMBOL_MISSING = "SymbolMissing"
    EMPTY_WINDOW = "EmptyWindow"
    FUTURE_BARS = "FutureBars"
    OUT_OF_ORDER = "OutOfOrder"
    DUPLICATE_BARS = "DuplicateBars"
    TIMEFRAME_MISMATCH = "TimeframeMismatch"
    MISSING_VALUES = "MissingValues"
    IMPOSSIBLE_PRICES = "ImpossiblePrices"
    JUMP = "Jump"
    FLAT = "Flat"
    GAP = "Gap"
    INCOMPLETE = "Incomplete"
    STALE = "Stale"
    TOO_FEW_ROWS = "TooFewRows"
    ONE_CLASS = "OneClass"
    BAD_FEATURE = "BadFeature"
    DUPLICATE_ROWS = "DuplicateRows"
    HISTORY_CHANGED = "HistoryChanged"
    BROKEN_RECORDS = "BrokenRecords"
    NOT_PUBLISHED = "NotPublished"
    BASELINE_BROKEN = "BaselineBroken"
    TRIALS_UNREADABLE = "TrialsUnreadable"
    CALIBRATION_BROKEN = "CalibrationBroken"
    IMPOSSIBLE_SLIPPAGE = "ImpossibleSlippage"
    # bad configuration
    SPEC_INVALID = "SpecInvalid"
    NOT_IN_THIS_RELEASE = "NotInThisRelease"
    PLUGIN_BROKEN = "PluginBroken"
    FORBIDDEN = "Forbidden"
    QUERY_REFUSED = "QueryRefused"
    VERSION_EXISTS = "VersionExists"
    CALIBRATION_EXISTS = "CalibrationExists"
    STORE_REFUSED = "StoreRefused"
    EXCHANGE_REFUSED = "ExchangeRefused"
    # the rest
    STORE_UNAVAILABLE = "StoreUnavailable"
    EXCHANGE_UNAVAILABLE = "ExchangeUnavailable"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    DATA_CHANGED = "DataChanged"
    NO_SPACE = "NoSpace"
    VERSION_BUSY = "VersionBusy"
    PARITY_FAILED = "ParityFailed"
    INTERNAL_ERROR = "InternalError"


class RunError(WalkforwardError):
    """A run that cannot go on; ``str`` of it names field, value, cause and next step."""

    code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadData(RunError):  # noqa: N818 - named as the exit code is
    """The bars are not what the spec says, or not enough to learn from."""

    code = ExitCode.BAD_DATA


class BadConfiguration(RunError):  # noqa: N818 - named as the exit code is
    """The spec, the addresses or the permissions have to change."""

    code = ExitCode.BAD_CONFIGURATION


class Transient(RunError):  # noqa: N818 - named as the exit code is
    """The same run may go through later."""

    code = ExitCode.TRANSIENT


class Broken(RunError):  # noqa: N818 - a promise that the trainer makes itself
    """The trainer's own promise does not hold: nothing was published."""
