"""Outcomes by receipt and by price, against plain arithmetic."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from bundles import make_bundle
from hypothesis import given
from hypothesis import strategies as st
from server_harness import HOUR, T0, measure, routing, running

from walkforward_core.bundle import DecisionKind
from walkforward_core.evidence.outcomes import MAX_ROWS
from walkforward_core.routing import OutcomeSource
from walkforward_server.stats import outcomes as tables
from walkforward_server.stats.outcomes import OutcomeTable, Prediction, PriceLedger, Seen, pnl

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import Made
    from server_harness import Running

COST = 0.0002


def two(folder: Path, **fields: Any) -> tuple[Made, Made]:
    return make_bundle(folder, day=1, weights=(1.0, 0.0, 0.0), **fields), make_bundle(folder, day=2, weights=(0.0, 1.0, 0.0), **fields)


def pair(a: Made, b: Made, source: OutcomeSource = OutcomeSource.RECEIPT, generation: int = 1, **fields: Any) -> Any:
    return routing(generation=generation, stable=a.ref, candidate=b.ref, weight=50, shadow=True, measure=measure(source, **fields))


async def matured(server: Running, count: int) -> Any:
    """The one table, once so many outcomes matured."""
    deadline = time.monotonic() + 10
    while True:
        (table,) = (await server.stats())["outcomes"]
        if table["matured"] >= count:
            return table
        assert time.monotonic() < deadline, table
        await asyncio.sleep(0.02)


async def report(server: Running, outcomes: list[tuple[str, float]]) -> Any:
    reply = await server.post("/v1/outcomes", {"outcomes": [{"receipt": receipt, "return": gross} for receipt, gross in outcomes]})
    assert reply.status == 200, reply.body
    return reply.json


async def test_receipts_give_both_arms_their_return(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(pair(a, b))
    # (row, return): the sign of the first feature is stable's position, that of the second the candidate's
    cases = [([1.0, -1.0, 0.0], 0.01), ([1.0, 1.0, 0.0], -0.02), ([-1.0, 1.0, 0.0], 0.03)]
    receipts = []
    for number, (row, gross) in enumerate(cases):
        reply = await server.infer(row, client=f"c{number}", symbol="EURUSD", ts=T0 + number * 7 * HOUR)
        receipts.append((reply.json["parameters"]["receipt"], gross))
    assert await report(server, receipts) == {"accepted": 3, "duplicate": 0, "rejected": []}
    table = await matured(server, 3)
    assert (table["plan"], table["stable"], table["candidate"]) == ("0123456789abcdef", a.ref.version, b.ref.version)
    assert (table["baseMs"], table["level"], table["newest"]) == (5 * HOUR, 0, T0 + 14 * HOUR)
    expected: dict[str, list[float]] = {}
    for number, (row, gross) in enumerate(cases):
        s, c = (pnl(1.0 if value > 0 else -1.0, gross, COST) for value in row[:2])
        assert s == pytest.approx((gross if row[0] > 0 else -gross) - COST)
        sums = expected.setdefault(str((T0 + number * 7 * HOUR) // (5 * HOUR)), [0.0] * 6)
        for index, value in enumerate((1.0, s, c, s * s, c * c, s * c)):
            sums[index] += value
    assert {key: pytest.approx(row) for key, row in expected.items()} == table["rows"]


async def test_any_pod_takes_a_receipt_also_after_the_scoring_one_is_gone(tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    token = b"secret"
    async with running(tmp_path / "p1", token=token) as scoring:
        await scoring.apply(pair(a, b))
        reply = await scoring.infer([1.0, -1.0, 0.0], client="c", symbol="EURUSD", ts=T0)
        receipt = reply.json["parameters"]["receipt"]
    async with running(tmp_path / "p2", token=token) as other:
        await other.apply(pair(a, b, generation=9))
        assert (await report(other, [(receipt, 0.01)]))["accepted"] == 1
        table = await matured(other, 1)
        (row,) = table["rows"].values()
        assert row[:3] == pytest.approx([1.0, 0.01 - COST, -0.01 - COST])
        assert await report(other, [(receipt, 0.01)]) == {"accepted": 0, "duplicate": 1, "rejected": []}
        assert (await matured(other, 1))["duplicate"] == 1
    async with running(tmp_path / "p3", token=b"another") as stranger:
        await stranger.apply(pair(a, b))
        (refused,) = (await report(stranger, [(receipt, 0.01)]))["rejected"]
        assert refused["reason"] == "BadReceipt"


async def test_models_with_other_columns_still_give_one_receipt(server: Running, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "store", day=1, features=("a", "b"), weights=(1.0, 0.0))
    b = make_bundle(tmp_path / "store", day=2, features=("c", "a"), weights=(1.0, 0.0))
    await server.apply(pair(a, b))
    reply = await server.infer([5.0, 1.0, -1.0], features="b,a,c", client="c", symbol="EURUSD", ts=T0)
    assert (await report(server, [(reply.json["parameters"]["receipt"], 0.01)]))["accepted"] == 1
    (row,) = (await matured(server, 1))["rows"].values()
    assert row[:3] == pytest.approx([1.0, 0.01 - COST, -0.01 - COST])


async def test_what_is_rejected_says_why(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    c = make_bundle(tmp_path / "store", day=3, weights=(0.0, 0.0, 1.0))
    assert (await report(server, [("x", 0.0)]))["rejected"][0]["reason"] == "NotMeasured"
    await server.apply(pair(a, b))
    receipt = (await server.infer([1.0, 1.0, 0.0], client="c", ts=T0)).json["parameters"]["receipt"]
    for text, gross, reason in (("x", 0.0, "BadReceipt"), (receipt, 11.0, "ReturnOutOfRange"), (receipt, -1.01, "ReturnOutOfRange")):
        (refused,) = (await report(server, [(text, gross)]))["rejected"]
        assert (refused["index"], refused["reason"]) == (0, reason)
        assert refused["message"]
    await server.apply(pair(a, b, generation=2, plan="f" * 16))
    assert (await report(server, [(receipt, 0.0)]))["rejected"][0]["reason"] == "OtherPlan"
    await server.apply(pair(a, c, generation=3))
    assert (await report(server, [(receipt, 0.0)]))["rejected"][0]["reason"] == "OtherPair"
    await server.apply(pair(a, b, OutcomeSource.PRICE, generation=4))
    assert (await report(server, [(receipt, 0.0)]))["rejected"][0]["reason"] == "WrongSource"
    assert "receipt" not in (await server.infer([1.0, 1.0, 0.0], client="c", ts=T0)).json["parameters"]
    for body in (b"{", b"[]", b'{"outcomes":[{"receipt":"x"}]}', b'{"outcomes":[{"receipt":"x","return":"1"}]}'):
        reply = await server.post("/v1/outcomes", body)
        assert reply.status == 400
        assert "report is not valid" in reply.json["error"]
    assert (await server.get("/v1/outcomes")).status == 405


async def test_filter_needs_a_base_position_for_evidence(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store", kind=DecisionKind.FILTER)
    await server.apply(pair(a, b))
    assert "receipt" not in (await server.infer([1.0, -1.0, 0.0], client="c", ts=T0)).json["parameters"]
    reply = await server.infer([1.0, -1.0, 0.0], client="c", ts=T0, base_position=-1.0)
    await report(server, [(reply.json["parameters"]["receipt"], 0.01)])
    (row,) = (await matured(server, 1))["rows"].values()
    # stable filters the trade away, the candidate lets it pass
    assert row[:3] == pytest.approx([1.0, 0.0, -0.01 - COST])
    (counted,) = (await server.stats())["pairs"]
    assert (counted["n"], counted["positions"]["n"]) == (2, 1)


async def test_prices_mature_predictions(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(pair(a, b, OutcomeSource.PRICE))
    client = server.client()
    prices = [1.00, 1.01, 1.02, 1.01, 1.00, 1.03, 1.04]
    for hour, price in enumerate(prices):
        reply = await server.infer([1.0, -1.0, 0.0], via=client, client="c", symbol="EURUSD", ts=T0 + hour * HOUR, price=price)
        assert "receipt" not in reply.json["parameters"]
    table = await matured(server, 2)
    assert table["matured"] == 2
    gross = [prices[5] / prices[0] - 1, prices[6] / prices[1] - 1]
    assert sum(row[1] for row in table["rows"].values()) == pytest.approx(sum(gross) - 2 * COST)
    assert sum(row[2] for row in table["rows"].values()) == pytest.approx(-sum(gross) - 2 * COST)
    # a gap of a day: what was due in it expires
    await server.infer([1.0, -1.0, 0.0], via=client, client="c", symbol="EURUSD", ts=T0 + 30 * HOUR, price=1.0)
    table = await matured(server, 2)
    assert (table["matured"], table["expired"]) == (2, 5)


async def test_the_same_decision_counts_once(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(pair(a, b, OutcomeSource.PRICE))
    for _ in range(3):
        await server.infer([1.0, -1.0, 0.0], request_id="same", symbol="EURUSD", ts=T0, price=1.0)
    await server.infer([1.0, -1.0, 0.0], request_id="same", symbol="EURUSD", ts=T0 + 5 * HOUR, price=1.1)
    table = await matured(server, 1)
    assert (table["matured"], table["duplicate"]) == (1, 2)


async def test_outcomes_do_not_hold_clients_up(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(pair(a, b))
    client = server.client()
    receipts = []
    for number in range(400):
        reply = await server.infer([1.0, -1.0, 0.0], via=client, client="c", ts=T0 + number * HOUR)
        receipts.append((reply.json["parameters"]["receipt"], 0.001))
    assert (await report(server, receipts))["accepted"] == 400
    assert (await matured(server, 400))["matured"] == 400


@given(
    outcomes=st.lists(st.tuples(st.integers(0, 3000), st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=400),
)
def test_table_is_exact_at_every_level(outcomes: list[tuple[int, float, float]]) -> None:
    base = 5 * HOUR
    table = OutcomeTable("p", "s", "c", base)
    for bar, s, c in outcomes:
        table.add(bar * HOUR, s, c)
    state = table.snapshot()
    assert len(state.rows) < MAX_ROWS
    expected: dict[str, list[float]] = {}
    for bar, s, c in outcomes:
        sums = expected.setdefault(str(bar * HOUR // (base << state.level)), [0.0] * 6)
        for index, value in enumerate((1.0, s, c, s * s, c * c, s * c)):
            sums[index] += value
    assert {key: pytest.approx(row) for key, row in expected.items()} == {key: list(row) for key, row in state.rows.items()}
    assert state.matured == len(outcomes)
    assert state.newest == max(bar for bar, _, _ in outcomes) * HOUR


def test_predictions_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PREDICTIONS", 10)
    ledger, table, seen = PriceLedger(), OutcomeTable("p", "s", "c", HOUR), Seen()
    for number in range(25):
        due = T0 + number * HOUR
        ledger.add(f"s{number % 2}", Prediction(table, due, due, due + HOUR, 1.0, 1.0, -1.0, COST))
        assert seen.first(("q", "EURUSD", number))
    assert table.evicted == 15
    for number in range(25):
        ledger.price(f"s{number % 2}", T0 + number * HOUR, 1.0)
    assert table.matured == 10
    assert not ledger._waiting
    assert not ledger._due
    assert seen.first(("q", "EURUSD", 0))
    assert not seen.first(("q", "EURUSD", 24))
