"""The ledger: a chain that nobody forks, written for as long as it takes."""

from __future__ import annotations

import asyncio
import json

from rollout_cluster import Objects
from virtual_time import run_virtual

from walkforward_core.documents import digest
from walkforward_core.errors import AlreadyExists
from walkforward_core.routing import RolloutRef
from walkforward_operator.cluster.fence import Quiet
from walkforward_operator.ledger import LedgerBook
from walkforward_operator.metrics import Metrics
from walkforward_operator.rollout.model import Record

FX = RolloutRef(namespace="prod", name="fx", uid="u1")
FOLDER = "s3://ledger/x/rollouts/prod/fx/u1/"


class Shared(Objects):
    """Answers where other bytes are there, as a real store does."""

    async def create(self, uri: str, data: bytes) -> bool:
        if self.objects.get(uri, data) != data:
            raise AlreadyExists(f"{uri}: other bytes are there")
        return await super().create(uri, data)


class Woken:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def book(store: Objects, metrics: Metrics | None = None, *, leading: bool = True) -> LedgerBook:
    return LedgerBook(store, "s3://ledger/x/", leading=lambda: leading, writes=Quiet(), metrics=metrics or Metrics())


def entry(seq: int, **body: object) -> Record:
    return Record(seq=seq, kind="Step", body=json.dumps({"weight": 5, **body}))


def records(store: Objects) -> list[dict[str, object]]:
    return [json.loads(data) for uri, data in sorted(store.objects.items()) if uri.startswith(FOLDER)]


def test_records_form_a_chain() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        ledger = book(store)
        assert ledger.view(FX, wake=woken).stored is None
        for seq in (1, 2, 3):
            ledger.add(FX, entry(seq), wake=woken)
        await asyncio.sleep(1)
        assert ledger.view(FX, wake=woken).stored == 3
        assert woken.count == 1
        previous = ""
        for seq, data in enumerate((store.objects[f"{FOLDER}{number:08d}.json"] for number in (1, 2, 3)), start=1):
            found = json.loads(data)
            assert found["schema"] == "walkforward.dev/ledger/v1"
            assert (found["seq"], found["previous"], found["body"]) == (seq, previous, {"weight": 5})
            previous = digest(data)

    run_virtual(main())


def test_asked_for_again_and_again_it_is_written_once() -> None:
    async def main() -> None:
        store, woken, metrics = Shared(), Woken(), Metrics()
        ledger = book(store, metrics)
        for _ in range(5):
            ledger.add(FX, entry(1), wake=woken)
            await asyncio.sleep(0.5)
        assert len(records(store)) == 1
        assert b"ledger_write_errors_total 0" in metrics.render(), "nor is it tried"

    run_virtual(main())


def test_a_new_process_goes_on_where_the_chain_ends() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        first = book(store)
        first.add(FX, entry(1), wake=woken)
        first.add(FX, entry(2), wake=woken)
        await asyncio.sleep(1)
        second = book(store)
        second.add(FX, entry(2), wake=woken)
        second.add(FX, entry(3), wake=woken)
        await asyncio.sleep(1)
        assert second.view(FX, wake=woken).stored == 3
        found = records(store)
        assert [record["seq"] for record in found] == [1, 2, 3]
        assert found[2]["previous"] == digest(store.objects[f"{FOLDER}00000002.json"])

    run_virtual(main())


def test_a_new_process_need_not_be_told_what_is_stored() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        first = book(store)
        for seq in (1, 2):
            first.add(FX, entry(seq), wake=woken)
        await asyncio.sleep(1)
        second = book(store)
        second.add(FX, entry(3), wake=woken)
        await asyncio.sleep(1)
        assert [record["seq"] for record in records(store)] == [1, 2, 3]
        assert records(store)[2]["previous"] == digest(store.objects[f"{FOLDER}00000002.json"])

    run_virtual(main())


def test_what_another_process_has_written_meanwhile_stands_and_the_chain_goes_on() -> None:
    async def main() -> None:
        store, woken = Shared(), Woken()
        one, other = book(store), book(store)
        one.add(FX, entry(1), wake=woken)
        await asyncio.sleep(1)
        other.add(FX, entry(2, weight=25), wake=woken)
        await asyncio.sleep(1)
        for seq in (2, 3):
            one.add(FX, entry(seq, weight=50), wake=woken)
        await asyncio.sleep(10)
        assert one.view(FX, wake=woken).stored == 3
        found = records(store)
        assert [record["body"] for record in found] == [{"weight": 5}, {"weight": 25}, {"weight": 50}]
        assert found[2]["previous"] == digest(store.objects[f"{FOLDER}00000002.json"])

    run_virtual(main())


def test_a_store_that_is_away_is_said_counted_and_waited_for() -> None:
    async def main() -> None:
        store, woken, metrics = Objects(), Woken(), Metrics()
        ledger = book(store, metrics)
        store.away = True
        ledger.add(FX, entry(1), wake=woken)
        await asyncio.sleep(300)
        assert "does not answer" in ledger.view(FX, wake=woken).error
        assert woken.count == 1, "said once, not at every attempt"
        assert b"ledger_write_errors_total 1" in metrics.render()
        store.away = False
        await asyncio.sleep(31)
        assert ledger.view(FX, wake=woken).stored == 1
        assert ledger.view(FX, wake=woken).error == ""

    run_virtual(main())


def test_who_does_not_lead_writes_nothing() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        ledger = book(store, leading=False)
        ledger.add(FX, entry(1), wake=woken)
        await asyncio.sleep(60)
        assert records(store) == []
        assert "Lease" in ledger.view(FX, wake=woken).error

    run_virtual(main())


def test_a_write_whose_answer_was_lost_is_found_again() -> None:
    class Lossy(Objects):
        lose = True

        async def create(self, uri: str, data: bytes) -> bool:
            done = await super().create(uri, data)
            if self.lose:
                self.lose = False
                await super().list("")  # the write is there
                from walkforward_core.errors import Unavailable

                raise Unavailable("the answer was lost")
            return done

    async def main() -> None:
        store, woken = Lossy(), Woken()
        ledger = book(store)
        ledger.add(FX, entry(1), wake=woken)
        ledger.add(FX, entry(2), wake=woken)
        await asyncio.sleep(10)
        assert [record["seq"] for record in records(store)] == [1, 2]
        assert ledger.view(FX, wake=woken).stored == 2

    run_virtual(main())


TRIAL = {
    "at": "2026-03-02T12:00:00Z",
    "kind": "Abort",
    "candidate": {"version": "v2", "uri": "s3://models/v2/"},
    "reason": "PsiFailed",
    "abTest": {"stable": "v1", "outcomes": 750, "recommended": False, "executed": False},
}
ROW = "s3://ledger/x/ab_test_runs/20260302T120000Z-prod-fx-1.json"


def test_the_end_of_a_trial_has_a_row_in_the_audit_with_the_names_that_dashboards_read() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        ledger = book(store)
        ledger.add(FX, entry(1, **TRIAL), wake=woken)
        ledger.add(FX, entry(2), wake=woken)
        await asyncio.sleep(1)
        assert [uri for uri in store.objects if "ab_test_runs" in uri] == [ROW]
        assert json.loads(store.objects[ROW]) == {
            "ts_ms": 1772452800000,
            "ts_iso": "2026-03-02T12:00:00Z",
            "namespace": "prod",
            "rollout": "fx",
            "arm_a_version": "v1",
            "arm_b_version": "v2",
            "arm_a_trades": 750,
            "arm_b_trades": 750,
            "swap_recommended": False,
            "swap_executed": False,
            "reason": "PsiFailed",
            "seq": 1,
        }

    run_virtual(main())


def test_a_row_that_was_written_by_a_process_that_died_then_is_no_obstacle() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        first = book(store)
        first.add(FX, entry(1, **TRIAL), wake=woken)
        await asyncio.sleep(1)
        written = store.objects[ROW]
        del store.objects[f"{FOLDER}00000001.json"]
        second = book(store)
        second.add(FX, entry(1, **TRIAL), wake=woken)
        await asyncio.sleep(1)
        assert len(records(store)) == 1
        assert store.objects[ROW] == written

    run_virtual(main())


def test_the_last_records_of_a_rollout_that_is_gone_are_written_still() -> None:
    async def main() -> None:
        store, woken = Objects(), Woken()
        ledger = book(store)
        store.away = True
        ledger.add(FX, entry(1), wake=woken)
        ledger.forget("u1")
        await asyncio.sleep(5)
        store.away = False
        await asyncio.sleep(31)
        assert len(records(store)) == 1
        assert ledger._chains == {}

    run_virtual(main())
