from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.evidence.outcomes import MAX_ROWS, add_outcome, batch_key, coarsen, merge_outcomes
from walkforward_core.stats import Outcomes

if TYPE_CHECKING:
    import random

BASE = 5 * 3_600_000

# sums of such numbers are exact in floats, so equality below is exact too
exact = st.integers(-512, 512).map(lambda number: number / 256)
outcome = st.tuples(st.integers(0, 3_000), exact, exact).map(lambda made: (made[0] * 3_600_000, made[1], made[2]))


def table_of(outcomes: list[tuple[int, float, float]]) -> Outcomes:
    table, level, newest = {}, 0, 0
    for ts, stable, candidate in outcomes:
        table, level = add_outcome(table, level, ts, BASE, stable, candidate)
        newest = max(newest, ts)
    rows = {str(key): batch for key, batch in table.items()}
    return Outcomes(
        plan="p",
        stable="s",
        candidate="c",
        base_ms=BASE,
        level=level,
        rows=rows,
        newest=newest,
        matured=len(outcomes),
        duplicate=1,
        expired=2,
    )


@given(st.lists(outcome, max_size=400))
def test_a_table_holds_the_sums_of_its_batches(outcomes: list[tuple[int, float, float]]) -> None:
    table = table_of(outcomes)
    expected: dict[int, list[tuple[float, float]]] = {}
    for ts, stable, candidate in outcomes:
        expected.setdefault(math.floor(ts / (BASE * 2**table.level)), []).append((stable, candidate))
    assert len(table.rows) < MAX_ROWS
    assert {int(key): batch for key, batch in table.rows.items()} == {
        key: (
            len(rows),
            sum(s for s, _ in rows),
            sum(c for _, c in rows),
            sum(s * s for s, _ in rows),
            sum(c * c for _, c in rows),
            sum(s * c for s, c in rows),
        )
        for key, rows in expected.items()
    }


@given(st.lists(outcome, min_size=1, max_size=600), st.integers(1, 6), st.randoms(use_true_random=False))
def test_any_split_over_sources_merged_in_any_order_gives_the_table_of_all(
    outcomes: list[tuple[int, float, float]], parts: int, order: random.Random
) -> None:
    split: list[list[tuple[int, float, float]]] = [[] for _ in range(parts)]
    for one in outcomes:
        order.choice(split).append(one)
    tables = [table_of(part) for part in split]
    order.shuffle(tables)
    merged = merge_outcomes(tables)
    # in two steps, as banking does
    middle = order.randrange(parts)
    steps = [merge_outcomes(tables[: middle + 1]), *tables[middle + 1 :]]
    assert merge_outcomes(steps) == merged

    whole = table_of(outcomes)
    assert merged.level == whole.level
    assert merged.rows == {key: whole.rows[key] for key in sorted(whole.rows, key=int)}
    assert (merged.newest, merged.matured, merged.duplicate, merged.expired) == (whole.newest, whole.matured, parts, 2 * parts)


@given(st.lists(outcome, min_size=1, max_size=300), st.integers(0, 3))
def test_coarsening_before_or_after_adding_is_the_same(outcomes: list[tuple[int, float, float]], steps: int) -> None:
    table = table_of(outcomes)
    rows = {int(key): batch for key, batch in table.rows.items()}
    direct: dict[int, tuple[float, ...]] = coarsen(rows, steps)
    repeated = rows
    for _ in range(steps):
        repeated = coarsen(repeated)
    assert direct == repeated
    assert set(direct) == {batch_key(ts, BASE, table.level + steps) for ts, _, _ in outcomes}


def test_a_full_table_is_coarsened_at_128_rows() -> None:
    levels = []
    table, level = {}, 0
    for number in range(600):
        table, level = add_outcome(table, level, number * BASE, BASE, 1.0, 0.0)
        levels.append((len(table), level))
    assert max(size for size, _ in levels) == 127
    assert [number for number, (before, after) in enumerate(pairwise(levels), 2) if after[1] > before[1]] == [128, 255, 509]
    assert sum(batch[0] for batch in table.values()) == 600


def test_tables_of_other_pairs_plans_or_horizons_are_never_added() -> None:
    one = Outcomes(plan="p", stable="s", candidate="c", base_ms=BASE)
    for other in (
        Outcomes(plan="q", stable="s", candidate="c", base_ms=BASE),
        Outcomes(plan="p", stable="t", candidate="c", base_ms=BASE),
        Outcomes(plan="p", stable="s", candidate="d", base_ms=BASE),
        Outcomes(plan="p", stable="s", candidate="c", base_ms=BASE + 1),
    ):
        with pytest.raises(ValueError, match="must not be added"):
            merge_outcomes([one, other])
    with pytest.raises(ValueError, match="no outcome table"):
        merge_outcomes([])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_returns_that_are_no_numbers_never_enter_the_sums(bad: float) -> None:
    table: dict = {}
    for pair in ((bad, 0.0), (0.0, bad)):
        with pytest.raises(ValueError, match="finite"):
            add_outcome(table, 0, 0, BASE, *pair)
    assert table == {}
