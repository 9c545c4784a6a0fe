"""The feature logger's records: JSON lines, a header behind a hash sign, then one record a minute.

A record has ``ts`` (epoch milliseconds) and ``raw`` {mid, spreadBp, vol1m, rsi14}; ``derived`` are features as the logger computed them,
which are compared with ours and never learned from. A line that is no record is counted. The last one may be just being written.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from walkforward_core.features import Samples
from walkforward_trainer.data.instants import DAY_MS, show
from walkforward_trainer.data.snapshot import contents
from walkforward_trainer.data.sources import Source, Span, listing
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["RawSamples", "parse_samples", "read_samples"]

INTERVAL_MS: Final = 60_000
RAW: Final = ("mid", "spreadBp", "vol1m", "rsi14")


@dataclass(frozen=True, slots=True, eq=False)
class RawSamples:
    """Samples as they were logged, NaN where a value misses; ``broken`` lines were no records, ``later`` ones are after ``asOf``.

    ``derived`` are the logger's own features, NaN where a record has none; ``first_broken`` names the first line that is no record.
    """

    samples: Samples
    derived: Mapping[str, Vector]
    broken: int
    first_broken: str
    later: int


class _Values(msgspec.Struct):
    mid: float | None = None
    spread_bp: float | None = msgspec.field(default=None, name="spreadBp")
    vol1m: float | None = None
    rsi14: float | None = None


class _Record(msgspec.Struct):
    ts: int | float
    raw: _Values
    derived: dict[str, Any] = {}


class _Header(msgspec.Struct):
    sample_interval_ms: int = INTERVAL_MS


def read_samples(access: Access, plan: Plan, *, now_ms: int) -> RawSamples:
    """Return the samples that were logged at ``asOf``, in the order of the files' names.

    Raises
    ------
    BadData, BadConfiguration, Transient
        Nothing there; not readable; samples from the future; another interval than a minute.
    """
    source = Source.of("data", plan.data)
    entries = listing(access, source, Span(until_ms=plan.as_of_ms + 1))
    records: list[_Record] = []
    broken, first = 0, ""
    for entry, data in contents(access, source, sorted(entries, key=lambda entry: entry.uri)):
        found, lost, where = parse_samples(_plain(data, entry.uri), entry.uri)
        records += found
        broken, first = broken + lost, first or where
    latest = max((record.ts for record in records), default=0)
    if latest > max(now_ms, plan.as_of_ms) + DAY_MS:
        raise BadData(
            Reason.FUTURE_BARS,
            f"data.uri {plan.data.uri}: samples lie in the future, the last at {show(int(latest))}; ts is epoch milliseconds",
        )
    known = [record for record in records if record.ts <= plan.as_of_ms]
    if not known:
        raise BadData(
            Reason.EMPTY_WINDOW,
            f"data.uri {plan.data.uri}: no samples before asOf {timestamp(plan.as_of_ms)}, {broken} lines are no records"
            f"{f', the first is {first}' if first else ''}; check the address and the logger",
        )
    names = sorted({name for record in known for name in record.derived})
    return RawSamples(
        samples=Samples(
            time=np.array([round(record.ts) for record in known], np.int64),
            mid=_column([record.raw.mid for record in known]),
            spread_bp=_column([record.raw.spread_bp for record in known]),
            vol1m=_column([record.raw.vol1m for record in known]),
            rsi14=_column([record.raw.rsi14 for record in known]),
        ),
        derived={name: _column([record.derived.get(name) for record in known]) for name in names},
        broken=broken,
        first_broken=first,
        later=len(records) - len(known),
    )


def parse_samples(data: bytes, name: str) -> tuple[list[_Record], int, str]:
    """Return the records of one file, how many lines are none, and where the first of those is.

    Raises
    ------
    BadData
        The header says another interval than a minute.
    """
    decode = msgspec.json.Decoder(_Record).decode
    records: list[_Record] = []
    broken, first = 0, ""
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if text.startswith(b"#"):
            _check_header(text, name, number)
            continue
        try:
            records.append(decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # what follows the last line break is still being written
            if number < len(lines):
                broken, first = broken + 1, first or f"line {number} of {name} ({error})"
    return records, broken, first


def _check_header(text: bytes, name: str, number: int) -> None:
    try:
        header = msgspec.json.decode(text.lstrip(b"# "), type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # a remark
    if header.sample_interval_ms != INTERVAL_MS:
        raise BadData(
            Reason.TIMEFRAME_MISMATCH,
            f"{name}, line {number}: sample_interval_ms is {header.sample_interval_ms}; the features are of samples a minute apart, "
            f"log every {INTERVAL_MS} ms",
        )


def _plain(data: bytes, name: str) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(Reason.DATA_UNREADABLE, f"{name}: not readable as gzip: {error}; deliver it whole") from error


def _column(values: list[Any]) -> Vector:
    """Return numbers as they are, NaN for anything else."""
    return np.array([value if isinstance(value, (int, float)) and not isinstance(value, bool) else np.nan for value in values], np.float64)
