"""``unseen.json`` of a bundle: what the fold models said to the newest rows, each of which its model had not seen.

A retrain a day later has one new row that the live model has not learned from, which compares nothing. But both models were tested out of
fold on nearly the same rows: there the two ways of training are compared, row by row, until enough new rows have come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from walkforward_core.documents import Document

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence

    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["UNSEEN", "Unseen", "common", "unseen_answers"]

UNSEEN: Final = "unseen.json"
NEWEST: Final = 10_000
"""Rows that are kept."""
DIGITS: Final = 6


class Unseen(Document, frozen=True, kw_only=True):
    """Rows by ``symbol`` (index in ``symbols``) and the ``time`` of their decision, epoch ms UTC; ``p`` has one probability a class."""

    NAME: ClassVar[str] = "unseen"

    symbols: tuple[str, ...]
    symbol: tuple[int, ...]
    time: tuple[int, ...]
    p: tuple[tuple[float, ...], ...]


def unseen_answers(rows: Dataset, evidence: Evidence) -> bytes:
    """Return the document of the newest rows of ``evidence``."""
    row = evidence.row[-NEWEST:]
    return Unseen(
        symbols=rows.symbols,
        symbol=tuple(rows.symbol[row].tolist()),
        time=tuple(rows.t0[row].tolist()),
        p=tuple(map(tuple, np.round(evidence.classes[-NEWEST:], DIGITS).tolist())),
    ).to_bytes()


def common(said: Unseen, rows: Dataset, row: Index) -> tuple[Index, Vector]:
    """Return the entries of ``row`` (indices of ``rows``) that ``said`` has too, ascending, and its probabilities of them."""
    place = {(said.symbols[symbol], time): at for at, (symbol, time) in enumerate(zip(said.symbol, said.time, strict=True))}
    names = [rows.symbols[symbol] for symbol in rows.symbol[row].tolist()]
    found = [place.get(key, -1) for key in zip(names, rows.t0[row].tolist(), strict=True)]
    at = np.flatnonzero(np.array(found, np.intp) >= 0)
    p = np.array(said.p, np.float64).reshape(len(said.time), -1)
    return at, p[[found[entry] for entry in at.tolist()]]
