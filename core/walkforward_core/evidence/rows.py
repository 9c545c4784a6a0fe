"""Adding rows and pairs of the statistics documents (contract C4).

Everything is a sum, a union or an extreme, so addition is commutative, associative and has the empty row as its zero. Rows that
were counted over different bins or limits cannot be added; they keep apart, and the reader decides (:func:`row_key`).
"""

from __future__ import annotations

import base64
import binascii
from operator import add
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs

from walkforward_core.stats import Bars, Errors, FeatureCounts, Latency, Pair, Positions, Requests, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

__all__ = ["KEY_BYTES", "merge_pairs", "merge_rows", "pair_key", "row_key", "total"]

KEY_BYTES = 256
"""Size of the bitmap of request keys."""

T = TypeVar("T")


def row_key(row: Row) -> tuple[Any, ...]:
    """Return what two rows must share to be added: generation, version, role and what they were counted over."""
    features, latency = row.features, row.latency
    lengths = tuple(map(len, (features.counts, features.missing, features.beyond, features.min, features.max, row.score, row.classes)))
    return (row.generation, row.version, row.role, features.edges_digest, lengths, latency.limit_ms, len(latency.counts), latency.le)


def pair_key(pair: Pair) -> tuple[Any, ...]:
    """Return what two pairs must share to be added."""
    return (pair.generation, pair.stable, pair.candidate)


def merge_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows with equal :func:`row_key` added up, in the order of their keys."""
    return tuple(sorted(_merge(rows, row_key, _add_rows), key=row_key))


def merge_pairs(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Return the pairs with equal :func:`pair_key` added up, in the order of their keys."""
    return tuple(sorted(_merge(pairs, pair_key, _add_pairs), key=pair_key))


def total(rows: Iterable[Row]) -> Row | None:
    """Return one model's rows of several generations as one, of generation 0; None where there are none.

    Raises
    ------
    ValueError
        Two rows counted over different bins or latency limits: their sum would mean nothing.
    """
    result: Row | None = None
    for row in merge_rows(structs.replace(row, generation=0) for row in rows):
        if result is not None and not _addable(result, row):
            raise ValueError(f"{row.role} {row.version}: pods counted over different bins or latency limits")
        result = row if result is None else _add_rows(result, row)
    return result


def _addable(a: Row, b: Row) -> bool:
    """Whether what both rows counted was counted alike; what one of them has not counted does not matter."""
    bins = [(row.features.edges_digest, len(row.features.counts)) for row in (a, b) if row.features.counts]
    limits = [(row.latency.limit_ms, row.latency.le) for row in (a, b) if row.latency.counts]
    lengths = [{len(row.score) for row in (a, b) if row.score}, {len(row.classes) for row in (a, b) if row.classes}]
    return len(set(bins)) <= 1 and len(set(limits)) <= 1 and all(len(found) <= 1 for found in lengths)


def _merge(items: Iterable[T], key: Callable[[T], Hashable], add_two: Callable[[T, T], T]) -> list[T]:
    sums: dict[Hashable, T] = {}
    for item in items:
        place = key(item)
        found = sums.get(place)
        sums[place] = item if found is None else add_two(found, item)
    return list(sums.values())


def _add_rows(a: Row, b: Row) -> Row:
    return Row(
        generation=a.generation,
        version=a.version,
        role=a.role,
        requests=_add_requests(a.requests, b.requests),
        errors=Errors(exception=a.errors.exception + b.errors.exception, non_finite=a.errors.non_finite + b.errors.non_finite),
        bars=_add_bars(a.bars, b.bars),
        keys=_or_keys(a.keys, b.keys),
        features=_add_features(a.features, b.features),
        score=_add_counts(a.score, b.score),
        classes=_add_counts(a.classes, b.classes),
        latency=_add_latency(a.latency, b.latency),
    )


def _add_requests(a: Requests, b: Requests) -> Requests:
    return Requests(
        exposed=a.exposed + b.exposed,
        shadow=a.shadow + b.shadow,
        unkeyed=a.unkeyed + b.unkeyed,
        fallback=a.fallback + b.fallback,
        shadow_skipped=a.shadow_skipped + b.shadow_skipped,
    )


def _add_bars(a: Bars, b: Bars) -> Bars:
    """Add counts; 0 stands for "no time yet" in ``first_ts`` and ``newest_ts``."""
    firsts = [ts for ts in (a.first_ts, b.first_ts) if ts]
    return Bars(
        distinct=a.distinct + b.distinct,
        undated=a.undated + b.undated,
        symbols=a.symbols if a.symbols == b.symbols else tuple(sorted({*a.symbols, *b.symbols})),
        first_ts=min(firsts, default=0),
        newest_ts=max(a.newest_ts, b.newest_ts),
    )


def _add_counts(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Add counts; an empty tuple is "nothing counted yet"."""
    return tuple(map(add, a, b)) if a and b else a or b


def _add_features(a: FeatureCounts, b: FeatureCounts) -> FeatureCounts:
    if not (a.counts and b.counts):
        return a if a.counts else b
    return FeatureCounts(
        edges_digest=a.edges_digest,
        counts=tuple(tuple(map(add, left, right)) for left, right in zip(a.counts, b.counts, strict=True)),
        missing=_add_counts(a.missing, b.missing),
        beyond=_add_counts(a.beyond, b.beyond),
        min=tuple(_extreme(min, left, right) for left, right in zip(a.min, b.min, strict=False)),
        max=tuple(_extreme(max, left, right) for left, right in zip(a.max, b.max, strict=False)),
    )


def _extreme(choose: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _add_latency(a: Latency, b: Latency) -> Latency:
    if not (a.counts and b.counts):
        return a if a.counts else b
    return Latency(
        le=a.le,
        counts=tuple(map(add, a.counts, b.counts)),
        limit_ms=a.limit_ms,
        n=a.n + b.n,
        k=a.k + b.k,
        k2n=a.k2n + b.k2n,
        slices=a.slices + b.slices,
    )


def _add_pairs(a: Pair, b: Pair) -> Pair:
    left, right = a.positions, b.positions
    return Pair(
        generation=a.generation,
        stable=a.stable,
        candidate=a.candidate,
        n=a.n + b.n,
        agree=a.agree + b.agree,
        sum_abs_delta=a.sum_abs_delta + b.sum_abs_delta,
        only_candidate_failed=a.only_candidate_failed + b.only_candidate_failed,
        only_stable_failed=a.only_stable_failed + b.only_stable_failed,
        positions=Positions(
            n=left.n + right.n,
            sum_s=left.sum_s + right.sum_s,
            sum_c=left.sum_c + right.sum_c,
            sum_s2=left.sum_s2 + right.sum_s2,
            sum_c2=left.sum_c2 + right.sum_c2,
            sum_sc=left.sum_sc + right.sum_sc,
        ),
    )


def _or_keys(a: str, b: str) -> str:
    if a == b or not b:
        return a
    if not a:
        return b
    return base64.b64encode((_bits(a) | _bits(b)).to_bytes(KEY_BYTES, "big")).decode()


def _bits(bitmap: str) -> int:
    try:
        raw = base64.b64decode(bitmap, validate=True)
    except binascii.Error:
        return 0
    return int.from_bytes(raw, "big") if len(raw) == KEY_BYTES else 0
