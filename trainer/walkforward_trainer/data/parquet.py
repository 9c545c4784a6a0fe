"""The footer of a Parquet file: how many rows each row group has, between which values, and where it lies. Nothing else is read.

The footer is one struct in Thrift's compact protocol (apache/parquet-format, ``parquet.thrift``; fields are named by their numbers here).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Footer", "Group", "NotParquet", "read_footer"]

MAGIC: Final = b"PAR1"
TAIL: Final = 8
"""Length of the footer, and the magic word."""
GUESS: Final = 1 << 16
"""Bytes of the end of the file that are asked for first; most footers fit in."""
INT64: Final = 2
_PER_SECOND: Final = {1: 1_000, 2: 1_000_000, 3: 1_000_000_000}
"""Units of a time stamp by the number of its case: milliseconds, microseconds, nanoseconds."""
_CONVERTED: Final = {9: 1_000, 10: 1_000_000}
"""The same of files of older writers."""


class NotParquet(ValueError):  # noqa: N818 - what it is
    """The bytes are no Parquet footer."""


@dataclass(frozen=True, slots=True)
class Group:
    """One row group: its rows, the first and last byte of it in the file, and of every column (min, max), raw, where known."""

    row: int
    rows: int
    start: int
    end: int
    bounds: dict[str, tuple[bytes, bytes]]

    def integers(self, column: str) -> tuple[int, int] | None:
        """Return the least and the greatest value of a column of 64-bit integers, where the file says."""
        found = self.bounds.get(column)
        if found is None or len(found[0]) != 8 or len(found[1]) != 8:
            return None
        low, high = (struct.unpack("<q", value)[0] for value in found)
        return low, high


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself: ``integers`` are its columns of 64 bits, ``tail`` the bytes from the footer to the end.

    ``ticks_per_second`` of those that are time stamps; those in ``utc`` are instants, the others times of day
    somewhere. ``metadata`` is what the writer has noted.
    """

    rows: int
    groups: tuple[Group, ...]
    integers: frozenset[str]
    ticks_per_second: dict[str, int]
    utc: frozenset[str]
    metadata: dict[str, str]
    tail: bytes


def read_footer(fetch: Callable[[int, int], bytes]) -> Footer:
    """Return the footer of the file whose bytes ``fetch(start, length)`` gives; a negative start counts from the end.

    Raises
    ------
    NotParquet
        The end of the file is no footer, or one that is cut.
    """
    tail = fetch(-GUESS, GUESS)
    if len(tail) < TAIL or tail[-4:] != MAGIC:
        raise NotParquet("the file does not end as Parquet does")
    length = int.from_bytes(tail[-8:-4], "little") + TAIL
    if length > len(tail):
        tail = fetch(-length, length)
    if length > len(tail):
        raise NotParquet(f"the footer is {length} bytes long, the file {len(tail)}")
    tail = tail[-length:]
    try:
        meta = _Compact(tail[:-TAIL]).struct()
        return _footer(meta, tail)
    except (LookupError, TypeError, AttributeError, ValueError, StopIteration, RecursionError) as error:
        raise NotParquet(f"the footer is not readable: {error!r}") from error


def _footer(meta: dict[int, Any], tail: bytes) -> Footer:
    integers: set[str] = set()
    instants: set[str] = set()
    per_second: dict[str, int] = {}
    for element in meta[2]:
        name = element[4].decode()
        if element.get(1) == INT64:
            integers.add(name)
            stamp = element.get(10, {}).get(8, {})
            if stamp:
                per_second[name] = _PER_SECOND[next(iter(stamp[2]))]
            elif element.get(6) in _CONVERTED:
                per_second[name] = _CONVERTED[element[6]]
            # files of older writers know instants alone
            if name in per_second and stamp.get(1, True):
                instants.add(name)
    groups, row = [], 0
    for found in meta[4]:
        columns = [chunk[3] for chunk in found[1]]
        first = [min(column[9], column.get(11) or column[9]) for column in columns]
        groups.append(
            Group(
                row=row,
                rows=found[3],
                start=min(first),
                end=max(start + column[7] for start, column in zip(first, columns, strict=True)),
                bounds=dict(filter(None, map(_bounds, columns))),
            )
        )
        row += found[3]
    return Footer(
        rows=meta[3],
        groups=tuple(groups),
        integers=frozenset(integers),
        ticks_per_second=per_second,
        utc=frozenset(instants),
        metadata={pair[1].decode(): pair.get(2, b"").decode() for pair in meta.get(5, ())},
        tail=tail,
    )


def _bounds(column: dict[int, Any]) -> tuple[str, tuple[bytes, bytes]] | None:
    """Return name, min and max of one column; the older pair of fields is right for integers alone, and in the same order."""
    found = column.get(12, {})
    low, high = found.get(6, found.get(2)), found.get(5, found.get(1))
    if low is None or high is None:
        return None
    return ".".join(part.decode() for part in column[3]), (low, high)


class _Compact:
    """Reader of Thrift's compact protocol: a struct becomes {field number: value}."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Any]:
        """Return the struct that begins here."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._signed()
            # of a field that is true or false, the kind is the value
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (1, 2):
            return self._byte() == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            return self._list()
        if kind == 11:
            return self._map()
        if kind == 12:
            return self.struct()
        raise TypeError(f"kind {kind} of Thrift")

    def _list(self) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 15:
            size = self._unsigned()
        return [self._value(kind) for _ in range(size)]

    def _map(self) -> dict[Any, Any]:
        size = self._unsigned()
        if not size:
            return {}
        kinds = self._byte()
        return {self._value(kinds >> 4): self._value(kinds & 0x0F) for _ in range(size)}

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _bytes(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise IndexError("the footer ends in the middle of a value")
        self._at += size
        return self._data[self._at - size : self._at]
