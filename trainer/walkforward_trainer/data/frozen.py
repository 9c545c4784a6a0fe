"""Features are those of the decision: where the log still has the row that opened a trade, the row that closed it is held to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.errors import BadData, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

__all__ = ["OPEN", "check_frozen", "opened_rows", "with_status", "without_status"]

OPEN: Final = "OPEN"
KEY: Final = ("id", "symbol")


def opened_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``frame`` with the status OPEN and an ``id``; none where the log has no such columns."""
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    if not {"id", "status"} <= set(frame.columns):
        return frame.clear()
    return with_status(frame, OPEN).filter(pl.col("id").is_not_null())


def with_status(frame: pl.DataFrame, word: str) -> pl.DataFrame:
    """Return the rows of ``frame`` whose status is ``word``, in whatever case."""
    return frame.filter(_status() == word)


def without_status(frame: pl.DataFrame, *words: str) -> pl.DataFrame:
    """Return the rows of ``frame`` whose status is none of ``words``, or that have none."""
    return frame.filter(~_status().fill_null("").is_in(words))


def _status() -> pl.Expr:
    import polars as pl  # noqa: PLC0415 - see opened_rows

    return pl.col("status").str.strip_chars().str.to_uppercase()


def check_frozen(opened: pl.DataFrame, closed: pl.DataFrame, names: Sequence[str], field: str) -> None:
    """Refuse closed trades that have another value of one of the features ``names`` than the row that opened them.

    A value that one of the two rows lacks says nothing.

    Raises
    ------
    BadData
        The first such trade and feature by name.
    """
    import polars as pl  # noqa: PLC0415 - see opened_rows

    key = [name for name in KEY if name in opened.columns and name in closed.columns]
    if not opened.height or KEY[0] not in key:
        return
    first = opened.unique(subset=key, keep="first", maintain_order=True)
    pairs = closed.join(first, on=key, how="inner", suffix=" opened", maintain_order="left")
    for name in names:
        before = f"{name} opened"
        if before not in pairs.columns:
            continue
        changed = pairs.filter(pl.col(name) != pl.col(before))
        if changed.height:
            row = changed.row(0, named=True)
            raise BadData(
                Reason.HISTORY_CHANGED,
                f"{field}: feature {name} of {changed.height} trades is not what it was when they were opened, first of trade "
                f"{row['id']!r}: {row[before]!r} then, {row[name]!r} in the row that closes it; log what was known at the decision: later "
                "prices tell the result",
            )
