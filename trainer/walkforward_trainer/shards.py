"""Several symbols: each one's rows prepared by itself, by a pod of its own in a cluster, then pooled into one dataset.

A shard is ``<artifacts>/runs/<run>/shards/<index>.npz``: arrays alone, never pickle, and the run that they are of, so
that the rows of another run are never gathered.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from walkforward_core.errors import NotFound
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.data.quality import QualityFacts
from walkforward_trainer.dataset import Dataset, FixedColumns
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.prepare import Prepared
from walkforward_trainer.result import shard_uri
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument

__all__ = ["get_shards", "pool", "put_shard", "shard_result"]

ROW_ARRAYS: Final = ("x", "y", "t0", "t1", "returns", "base", "weight")
TARGET: Final = "target."
HEADER: Final = "header"
SHARD_LIMIT: Final = 16 * 2**30


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard says about its arrays."""

    run: str
    symbol: str
    names: tuple[str, ...]
    digest: str
    warmup: int
    horizon_ms: int
    unmet: tuple[str, ...]
    reason: Reason
    facts: QualityFacts
    left_out: int = 0
    stretch: int = 0


def put_shard(store: ObjectStore, run: RunDocument, index: int, prepared: Prepared) -> None:
    """Write the rows of one symbol.

    Raises
    ------
    RunError
        The store did not do as asked.
    """
    rows = prepared.rows
    header = _Header(
        run=run.run,
        symbol=rows.symbols[0],
        names=rows.names,
        digest=rows.digest,
        warmup=rows.warmup,
        horizon_ms=rows.horizon_ms,
        unmet=prepared.unmet,
        reason=prepared.reason,
        facts=prepared.facts,
        left_out=rows.left_out,
        stretch=rows.stretch,
    )
    arrays: dict[str, Any] = {name: getattr(rows, name) for name in ROW_ARRAYS}
    arrays |= {f"{TARGET}{name}": values for name, values in rows.targets.items()}
    arrays[HEADER] = np.frombuffer(msgspec.json.encode(header), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with store_errors("artifacts.uri"):
        store.put(shard_uri(run.spec.artifacts.uri, run.run, index), buffer.getvalue())


def get_shards(store: ObjectStore, run: RunDocument) -> list[Prepared]:
    """Return the rows of every symbol of the run, in the order of ``data.symbols``.

    Raises
    ------
    BadData
        A shard is missing, or is of another run.
    RunError
        The store did not do as asked.
    """
    found = []
    for index, symbol in enumerate(run.spec.data.symbols):
        address = shard_uri(run.spec.artifacts.uri, run.run, index)
        with store_errors("artifacts.uri"):
            try:
                data = store.get(address, limit=SHARD_LIMIT)
            except NotFound as error:
                message = f"shard {index} ({symbol}): {address} is not there; its pod did not end well, run again"
                raise BadData(Reason.DATA_NOT_FOUND, message) from error
        found.append(_read(data, run, index, symbol))
    return found


def pool(parts: Sequence[Prepared]) -> Prepared:
    """Return the rows of all ``parts`` in the order of their decisions; of equal times the earlier symbol comes first.

    The features of a row are of its own symbol alone, so pooling leaks nothing; purging by time keeps rows of one instant together.
    """
    if len(parts) == 1:
        return parts[0]
    each = [part.rows for part in parts]
    order = np.argsort(np.concatenate([rows.t0 for rows in each]), kind="stable")
    joined: dict[str, Any] = {name: np.concatenate([getattr(rows, name) for rows in each])[order] for name in ROW_ARRAYS}
    symbol = np.repeat(np.arange(len(each), dtype=np.int16), [len(rows) for rows in each])[order]
    targets = {name: np.concatenate([rows.targets[name] for rows in each])[order] for name in each[0].targets}
    whole = Dataset(
        **joined,
        names=each[0].names,
        symbol=symbol,
        symbols=tuple(rows.symbols[0] for rows in each),
        digest="sha256:" + hashlib.sha256("".join(rows.digest for rows in each).encode()).hexdigest(),
        columns=FixedColumns(joined["x"], each[0].names),
        warmup=max(rows.warmup for rows in each),
        horizon_ms=each[0].horizon_ms,
        targets=targets,
        left_out=sum(rows.left_out for rows in each),
    )
    missing = tuple(f"{part.rows.symbols[0]}: {why}" for part in parts for why in part.unmet)
    reason = next((part.reason for part in parts if part.unmet), parts[0].reason)
    return Prepared(facts=_worst([part.facts for part in parts]), rows=whole, unmet=missing, reason=reason)


def shard_result(run: RunDocument, index: int, prepared: Prepared) -> ResultDocument:
    """Return how the pod of one symbol ended."""
    symbol = run.spec.data.symbols[index]
    if prepared.unmet and not run.force:
        message = f"{symbol}: {'; '.join(prepared.unmet)}; the next occasion tries again"
        return ResultDocument(run=run.run, verdict=RunVerdict.INELIGIBLE, reason=prepared.reason, message=message)
    message = f"{symbol}: {len(prepared.rows)} rows, {int(prepared.rows.known.sum())} with a label, wait to be gathered"
    return ResultDocument(run=run.run, verdict=RunVerdict.PREPARED, reason=Reason.SHARD_PREPARED, message=message)


def _read(data: bytes, run: RunDocument, index: int, symbol: str) -> Prepared:
    try:
        arrays = np.load(io.BytesIO(data), allow_pickle=False)
        header = msgspec.json.decode(arrays[HEADER].tobytes(), type=_Header)
        columns = {name: arrays[name] for name in ROW_ARRAYS}
        targets = {name.removeprefix(TARGET): arrays[name] for name in arrays.files if name.startswith(TARGET)}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, zlib.error, msgspec.DecodeError) as error:
        message = f"shard {index} ({symbol}) is not readable: {error}; its pod was killed while writing, run again"
        raise BadData(Reason.DATA_UNREADABLE, message) from error
    if (header.run, header.symbol) != (run.run, symbol):
        message = f"shard {index} is of {header.symbol} in run {header.run}, not of {symbol} in {run.run}; clear its folder and run again"
        raise BadData(Reason.DATA_UNREADABLE, message)
    rows = Dataset(
        **columns,
        names=header.names,
        symbol=np.zeros(len(columns["x"]), np.int16),
        symbols=(symbol,),
        digest=header.digest,
        columns=FixedColumns(columns["x"], header.names),
        warmup=header.warmup,
        horizon_ms=header.horizon_ms,
        targets=targets,
        left_out=header.left_out,
        stretch=header.stretch,
    )
    return Prepared(facts=header.facts, rows=rows, unmet=header.unmet, reason=header.reason)


def _worst(facts: Sequence[QualityFacts]) -> QualityFacts:
    """Return the facts of all symbols as one: counts add up, of the rest the worst."""
    names = facts[0].nan_share
    return QualityFacts(
        bars=sum(one.bars for one in facts),
        dropped=sum(one.dropped for one in facts),
        nan_share={name: max(one.nan_share.get(name, 0.0) for one in facts) for name in names},
        max_gap_ms=max(one.max_gap_ms for one in facts),
        completeness=min(one.completeness for one in facts),
        staleness_ms=max(one.staleness_ms for one in facts),
        flat_share=max((one.flat_share for one in facts if one.flat_share is not None), default=None),
        max_jump=max((one.max_jump for one in facts if one.max_jump is not None), default=None),
    )
