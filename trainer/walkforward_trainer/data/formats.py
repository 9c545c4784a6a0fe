"""Files of four formats as lazy polars frames over bytes in memory: only the columns and rows that are taken are decoded."""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.api.data import DataFormat
from walkforward_trainer.errors import BadData, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from walkforward_trainer.data.sources import Source

__all__ = ["first_line", "is_blank", "open_table", "unreadable"]

MAX_TEXT: Final = 1 << 30
"""Bytes of one CSV or JSON lines file, unpacked: it is parsed as a whole, which takes several times as much."""
BLANK: Final = 1024
"""Bytes of the longest text that is looked at for whether it says anything at all."""
MISSING: Final = ["", "NA", "NaN", "nan", "null"]
GZIP: Final = b"\x1f\x8b"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
STREAM: Final = b"\xff\xff\xff\xff"
OTHER_SIGNS: Final = (";", "\t", "|")
TWICE: Final = re.compile(r"(.*)_duplicated_\d+", re.DOTALL)
"""What polars makes of a name that stands in the header again."""


def open_table(data: bytes, source: Source, name: str) -> pl.LazyFrame:
    """Return the table in ``data``; text is parsed here, the others when they are collected.

    Raises
    ------
    BadData
        Text too large to be parsed in bounded memory.
    polars.exceptions.PolarsError, OSError, ValueError
        Not of that format; see :func:`unreadable`.
    """
    if source.format in {DataFormat.CSV, DataFormat.JSONL}:
        data = _text(data, name)
    return _readers()[source.format](data)


def is_blank(data: bytes, source: Source, name: str) -> bool:
    """Return whether ``data`` is text without a word: a log that nobody has written into yet."""
    text = source.format in {DataFormat.CSV, DataFormat.JSONL} and len(data) <= BLANK
    return text and not _text(data, name).strip()


def unreadable(error: BaseException, source: Source, name: str) -> BadData:
    """Return what a file is refused with that cannot be decoded."""
    return BadData(
        Reason.DATA_UNREADABLE,
        f"{name}: not readable as {source.format}: {first_line(error)}; check {source.field}.format and the file",
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _readers() -> Mapping[DataFormat, Callable[[bytes], pl.LazyFrame]]:
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    return {
        DataFormat.PARQUET: lambda data: pl.scan_parquet(io.BytesIO(data)),
        DataFormat.CSV: _csv,
        DataFormat.FEATHER: _feather,
        DataFormat.JSONL: _jsonl,
    }


def _csv(data: bytes) -> pl.LazyFrame:
    import polars as pl  # noqa: PLC0415 - see _readers

    if data.startswith(UTF16):
        raise ValueError("the text is UTF-16; write UTF-8")
    # a volume that is whole for a thousand rows may have a fraction later
    table = pl.read_csv(io.BytesIO(data), infer_schema_length=None, null_values=MISSING)
    other = next((sign for sign in OTHER_SIGNS if sign in table.columns[0]), None) if table.width == 1 else None
    if other is not None:
        raise ValueError(f"its fields are separated by {other!r}; write commas between them, and points in numbers")
    again = [match[1] for match in map(TWICE.fullmatch, table.columns) if match and match[1] in table.columns]
    if again:
        raise ValueError(f"its header has the column {again[0]!r} more than once; keep one of them")
    return table.lazy()


def _jsonl(data: bytes) -> pl.LazyFrame:
    import polars as pl  # noqa: PLC0415 - see _readers

    data = _written(data)
    try:
        return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None).lazy()
    except pl.exceptions.PolarsError as error:
        broken = _broken_line(data)
        if broken is None:
            raise
        raise ValueError(broken) from error


def _written(data: bytes) -> bytes:
    """Return ``data`` without a last line that is just being written: one that neither ends nor is JSON yet."""
    start = data.rfind(b"\n") + 1
    return data[:start] if start and start < len(data) and _why_no_object(data[start:]) else data


def _broken_line(data: bytes) -> str | None:
    """Return which line is no JSON object, and why; nothing where all are."""
    lines = ((number, _why_no_object(line)) for number, line in enumerate(io.BytesIO(data), 1) if line.strip())
    return next((f"line {number}: {why}" for number, why in lines if why), None)


def _why_no_object(line: bytes) -> str:
    """Return why ``line`` is no JSON object; empty where it is one."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return "" if isinstance(found, dict) else "it is no JSON object"


def _feather(data: bytes) -> pl.LazyFrame:
    import polars as pl  # noqa: PLC0415 - see _readers

    if data.startswith(STREAM):
        raise ValueError("it is a stream of Arrow, which has no index; write an Arrow file (Feather version 2)")
    return pl.scan_ipc(io.BytesIO(data))


def _text(data: bytes, name: str) -> bytes:
    """Return text, unpacked, at most as much as can be parsed."""
    if data[:2] == GZIP:
        data = _unpacked(data)
    if len(data) > MAX_TEXT:
        raise BadData(
            Reason.DATA_TOO_LARGE,
            f"{name}: more than {MAX_TEXT >> 20} MiB of text in one file, which is parsed as a whole; split it by day, or write Parquet",
        )
    return data


def _unpacked(data: bytes) -> bytes:
    """Return what gzip members hold, at most a byte more than the limit.

    Raises
    ------
    ValueError
        Not gzip, or cut off.
    """
    out = bytearray()
    while data and len(out) <= MAX_TEXT:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(data, MAX_TEXT + 1 - len(out))
        except zlib.error as error:
            raise ValueError(f"gzip: {error}") from error
        if not member.eof and len(out) <= MAX_TEXT:
            raise ValueError("gzip: the file is cut off")
        data = member.unused_data
    return bytes(out)
