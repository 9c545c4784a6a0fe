"""Whatever lies at the address: bars that are as they should be, or a refusal by name. Never anything else."""

from __future__ import annotations

import io
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trainer_runs import HOUR, NOW, run_document, spec

from walkforward_trainer.data.bars import RawBars, read_bars
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.data.sources import Access
from walkforward_trainer.data.tables import PRICES
from walkforward_trainer.errors import Broken, RunError
from walkforward_trainer.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
START = 1_704_067_200_000
FORMATS = ("parquet", "csv", "feather", "jsonl")
BOUNDED = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def load(data: bytes, kind: str, **changes: Any) -> RawBars | RunError:
    """Return what a run reads of a file that holds ``data``, or what it says instead."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.bin"
        path.write_bytes(data)
        fields = spec(path, "file:///models")
        fields["data"] |= {"format": kind, "windowBars": 20} | changes
        plan = make_plan(run_document(fields, "2024-01-02T00:00:00Z"))
        raw = outcome(lambda: read_bars(Access(allow_file=True, env={}), plan, now_ms=NOW))
        if isinstance(raw, RunError):
            assert path.name in str(raw) or str(raw).startswith("data")
            return raw
        bars = raw.bars
        assert bars.time.dtype == np.int64
        assert len(bars) > 0
        assert (bars.time <= plan.as_of_ms).all()
        assert all(getattr(bars, name).dtype == np.float64 for name in PRICES)
        window = outcome(lambda: check_quality(raw, plan))
        assert isinstance(window, RunError) or np.isfinite(window.bars.close).all()
        return raw


def outcome(call: Callable[[], T]) -> T | RunError:
    """Return what ``call`` returns, or the refusal that it ends with; a promise of the trainer that does not hold is no refusal."""
    try:
        return call()
    except Broken:
        raise
    except RunError as error:
        return error


def good(rows: int = 24) -> pl.DataFrame:
    close = [1 + row / 100 for row in range(rows)]
    prices = {"open": close, "high": [c + 0.001 for c in close], "low": [c - 0.001 for c in close], "close": close, "volume": [1.0] * rows}
    return pl.DataFrame({"time": [START + HOUR * row for row in range(rows)]} | prices)


def written(frame: pl.DataFrame, kind: str) -> bytes:
    out = io.BytesIO()
    match kind:
        case "parquet":
            frame.write_parquet(out)
        case "feather":
            frame.write_ipc(out)
        case "csv":
            frame.write_csv(out)
        case _:
            frame.write_ndjson(out)
    return out.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_good_file_is_read(kind: str) -> None:
    assert isinstance(load(written(good(), kind), kind), RawBars)


@given(data=st.binary(max_size=300), kind=st.sampled_from(FORMATS))
@example(data=b"PAR1" + bytes(20) + b"PAR1", kind="parquet")
@example(data=b"ARROW1" + bytes(30), kind="feather")
@example(data=b"\x1f\x8b" + bytes(20), kind="csv")
@example(data=b"time,open,high,low,close,volume\n", kind="csv")
@example(data=b"time,open,high,low,close,volume\n1,2,3\n", kind="csv")
@example(data=b'[{"time": 1}]', kind="jsonl")
@example(data=b'{"time": {"a": 1}, "open": [1]}\n{"time": 3}\n', kind="jsonl")
@BOUNDED
def test_any_bytes(data: bytes, kind: str) -> None:
    load(data, kind)


@given(
    kind=st.sampled_from(FORMATS),
    cut=st.integers(0, 4_000),
    places=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), max_size=4),
)
@BOUNDED
def test_damaged_files(kind: str, cut: int, places: list[tuple[int, int]]) -> None:
    data = bytearray(written(good(), kind))
    for place, value in places:
        data[place % len(data)] = value
    load(bytes(data[: len(data) - cut % len(data) if cut % 3 else len(data)]), kind)


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.none())
STAMPS = ["2024-01-01", "2024-01-01T05:00:00+02:00", "2024-02-30", "9999-12-31T23:59:59Z", "nan", "1,5"]
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(STAMPS))
UNITS = [pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")]


def five(values: st.SearchStrategy[Any], dtype: Any) -> st.SearchStrategy[pl.Series]:
    return st.lists(values, min_size=5, max_size=5).map(lambda found: pl.Series(found, dtype=dtype))


COLUMNS = st.one_of(
    five(st.floats(), pl.Float64),
    five(st.integers(-(2**63), 2**63 - 1), pl.Int64),
    five(st.integers(0, 2**64 - 1), pl.UInt64),
    five(st.one_of(TEXTS, st.none()), pl.String),
    five(st.booleans(), pl.Boolean),
    st.builds(lambda found, unit: found.cast(unit), five(st.integers(-(2**61), 2**61), pl.Int64), st.sampled_from(UNITS)),
    five(st.dates(), pl.Date),
    five(st.times(), pl.Time),
    five(st.decimals(-1_000, 1_000, places=4), pl.Decimal(20, 4)),
    st.just(pl.Series([None] * 5)),
    st.just(pl.Series([[1.0], [2.0], None, [], [3.0]])),
    st.just(pl.Series([b"a", b"", None, b"\xff", b"b"])),
    st.just(pl.Series([{"a": 1}] * 5)),
    st.just(pl.Series(["a", "b", "a", None, "c"], dtype=pl.Categorical)),
    st.just(pl.Series([START + HOUR * row for row in range(5)])),
    st.just(pl.Series([float(row + 1) for row in range(5)])),
)
NAMES = ("time", "open", "high", "low", "close", "volume", "symbol", "Time ", "*", "^a$", "close.a", "")


@given(
    columns=st.dictionaries(st.sampled_from(NAMES), COLUMNS, max_size=4),
    kind=st.sampled_from(("parquet", "feather", "jsonl")),
    zone=st.sampled_from(["Etc/UTC", "Europe/London"]),
    stamp=st.sampled_from(["open", "close"]),
    mapping=st.dictionaries(st.sampled_from(["time", "close", "symbol", "other"]), st.sampled_from([*NAMES[:-1], "x"]), max_size=2),
)
@settings(BOUNDED, max_examples=150)
def test_any_columns(columns: dict[str, pl.Series], kind: str, zone: str, stamp: str, mapping: dict[str, str]) -> None:
    frame = good(5).with_columns(series.alias(name) for name, series in columns.items())
    try:
        data = written(frame, kind)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return  # not every type has a place in every format
    load(data, kind, timeZone=zone, barTime=stamp, columns=mapping)


@given(rows=st.lists(st.lists(st.one_of(NUMBERS, TEXTS, st.booleans()), min_size=6, max_size=6), max_size=5))
@BOUNDED
def test_any_values_in_text(rows: list[list[Any]]) -> None:
    lines = ["time,open,high,low,close,volume", *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    load("\n".join(lines).encode("utf-8", "surrogatepass"), "csv")


CELLS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), TEXTS, st.binary(max_size=4), st.sampled_from([START, 1.5, 1]))


@given(
    rows=st.lists(st.tuples(*[CELLS] * 6), max_size=4),
    stamp=st.one_of(st.just(START), st.just("2024-01-01 05:00:00"), CELLS),
    good_rows=st.integers(0, 24),
)
@example(rows=[(START, 1, 1, 1, 1, "a")], stamp=START, good_rows=24)
@example(rows=[(START, b"a", 1.5, 1, 1, None)], stamp=START, good_rows=24)
@settings(BOUNDED, max_examples=25)
def test_any_values_in_sqlite(rows: list[tuple[Any, ...]], stamp: Any, good_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/bars.db")) as database:
        database.execute("CREATE TABLE bars (time, open, high, low, close, volume)")
        with database:
            database.executemany(
                "INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?)", [*good(24).rows()[:good_rows], *rows, (stamp, 1, 1, 1, 1, 1)]
            )
        load(Path(f"{folder}/bars.db").read_bytes(), "sqlite", query="SELECT * FROM bars")
