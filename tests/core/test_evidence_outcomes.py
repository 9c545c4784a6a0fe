from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from walkforward_core.evidence.outcomes import MAX_ROWS, merge_outcomes
from walkforward_core.stats import Outcomes

if TYPE_CHECKING:
    import random

BASE = 5 * 3_600_000

# sums of such numbers are exact in floats, so equality below is exact too
exact = st.integers(-512, 512).map(lambda number: number / 256)
outcome = st.tuples(st.integers(0, 3_000), exact, exact).map(lambda made: (made[0] * 3_600_000, made[1], made[2]))


def table_of(build: Any, outcomes: list[tuple[int, float, float]]) -> Outcomes:
    if not outcomes:
        return Outcomes(plan="plan", stable="stable", candidate="candidate", base_ms=BASE, duplicate=1, expired=2)
    return structs.replace(build.outcomes(outcomes, base_ms=BASE), duplicate=1, expired=2)


@given(st.lists(outcome, max_size=400))
def test_a_table_holds_the_sums_of_its_batches(build: Any, outcomes: list[tuple[int, float, float]]) -> None:
    table = table_of(build, outcomes)
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
    build: Any, outcomes: list[tuple[int, float, float]], parts: int, order: random.Random
) -> None:
    split: list[list[tuple[int, float, float]]] = [[] for _ in range(parts)]
    for one in outcomes:
        order.choice(split).append(one)
    tables = [table_of(build, part) for part in split]
    order.shuffle(tables)
    merged = merge_outcomes(tables)
    # in two steps, as banking does
    middle = order.randrange(parts)
    steps = [merge_outcomes(tables[: middle + 1]), *tables[middle + 1 :]]
    assert merge_outcomes(steps) == merged

    whole = table_of(build, outcomes)
    assert merged.level == whole.level
    assert merged.rows == {key: whole.rows[key] for key in sorted(whole.rows, key=int)}
    assert (merged.newest, merged.matured, merged.duplicate, merged.expired) == (whole.newest, whole.matured, parts, 2 * parts)


def test_a_table_is_coarsened_at_128_rows(build: Any) -> None:
    def made(batches: int) -> Outcomes:
        return build.outcomes(((number * BASE, 1.0, 0.0) for number in range(batches)), base_ms=BASE)

    sizes = {batches: (len(made(batches).rows), made(batches).level) for batches in (127, 128, 254, 255, 508, 509)}
    assert sizes == {127: (127, 0), 128: (64, 1), 254: (127, 1), 255: (64, 2), 508: (127, 2), 509: (64, 3)}
    assert sum(batch[0] for batch in made(509).rows.values()) == 509


def test_tables_of_different_levels_meet_at_the_higher_one(build: Any) -> None:
    coarse = build.outcomes(((number * BASE, 1.0, 0.0) for number in range(400)), base_ms=BASE)
    fine = build.outcomes([(401 * BASE, 2.0, 3.0)], base_ms=BASE)
    assert (coarse.level, fine.level) == (2, 0)
    for merged in (merge_outcomes([coarse, fine]), merge_outcomes([fine, coarse])):
        assert merged.level == 2
        assert merged.rows == {**coarse.rows, "100": (1.0, 2.0, 3.0, 4.0, 9.0, 6.0)}


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
