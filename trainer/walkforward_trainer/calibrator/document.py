"""``execution_calibration.json`` and its immutable copies, one for each ``asOf``."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Final

from walkforward_core.documents import Document, Part

__all__ = ["POINTER", "Bucket", "Calibration", "Execution", "RegimeBy", "copy_uri", "pointer_uri", "stamp", "stamp_ms"]

POINTER: Final = "execution_calibration.json"
FOLDER: Final = "calibrations"
_WHOLE, _PARTS = "%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S.%fZ"


def _plain(name: str) -> str:
    """Keep a field's name: backtesters read these files by the names that they have always had."""
    return name


class RegimeBy(StrEnum):
    """What the regime of a trade is read from."""

    VOLATILITY = "volatility"
    """The volatility before the trade, in per cent: known when its size is chosen."""
    PNL = "pnl"
    """The size of the outcome, in per cent: known too late to size anything by, so every multiplier is 1."""


class Execution(Part, frozen=True, kw_only=True, rename=_plain):
    """All trades together; slippage of one side in per cent of the price, adverse is positive."""

    ema_slippage_per_side_pct: float
    position_size_multiplier: float
    recent_n_weighted: int
    recent_weight_mult: float
    assumed_slippage_per_side_pct: float


class Bucket(Part, frozen=True, kw_only=True, rename=_plain):
    """Trades of one kind; ``ema_slip`` as in :class:`Execution`, null without a trade."""

    count: int
    ema_slip: float | None
    pos_mult: float


class Calibration(Document, frozen=True, kw_only=True, rename=_plain):
    """What executions have cost up to ``generated_at``, which is the run's ``asOf``: the same trades make the same bytes.

    ``profit_factor`` is null without a losing trade; ``unpriced`` counts closed trades without prices, which measure nothing.
    """

    NAME: ClassVar[str] = "execution-calibration"

    generated_at: str
    trade_count: int
    win_rate: float
    profit_factor: float | None
    execution: Execution
    time_of_day: dict[str, Bucket]
    regime_slippage: dict[str, Bucket]
    recommendations: tuple[str, ...]
    regime_by: RegimeBy
    unpriced: int = 0


def stamp(as_of_ms: int) -> str:
    """Return ``as_of_ms`` as it stands in a name, with milliseconds only where there are some.

    >>> stamp(1_704_153_600_000), stamp(1_704_153_600_500)
    ('20240102T000000Z', '20240102T000000.500Z')
    """
    moment = datetime.fromtimestamp(as_of_ms / 1000, UTC)
    return moment.strftime(_WHOLE) if as_of_ms % 1000 == 0 else f"{moment:%Y%m%dT%H%M%S}.{as_of_ms % 1000:03d}Z"


def stamp_ms(text: str) -> int | None:
    """Return the epoch milliseconds of a :func:`stamp`, None for any other text.

    >>> stamp_ms("20240102T000000.500Z"), stamp_ms("notes")
    (1704153600500, None)
    """
    for form in (_WHOLE, _PARTS):
        try:
            return round(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            continue
    return None


def pointer_uri(artifacts: str) -> str:
    """Return the address of the newest calibration."""
    return f"{artifacts.rstrip('/')}/{POINTER}"


def copy_uri(artifacts: str, name: str = "") -> str:
    """Return the address of the copy with that stamp, or the prefix of all copies."""
    folder = f"{artifacts.rstrip('/')}/{FOLDER}/"
    return f"{folder}{name}.json" if name else folder
