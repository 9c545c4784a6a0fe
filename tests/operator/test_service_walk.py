"""The rollout service on a cluster in memory: whole walks, ways back, and the same end when the operator is killed after any write."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from rollout_cluster import KEY, NAME, NS, TARGET, Operator, RolloutCluster
from virtual_time import run_virtual

from walkforward_core.bundle import Verdict
from walkforward_core.documents import digest
from walkforward_core.routing import RoutingDocument
from walkforward_operator.cluster.errors import Forbidden, NotFound, Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP, EVENT, NAMESPACE, POD, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from walkforward_operator.rollout.status import RolloutStatus

SHORT = {
    "strategy": {
        "shadow": {"minRequests": 200},
        "phases": [{"weight": 5, "duration": "6s"}, {"weight": 25, "duration": "6s"}, {"weight": 100, "duration": "6s"}],
        "watch": {"duration": "6s"},
    },
    "gates": {"latency": {"minDuration": "6s"}, "psi": {}, "sharpe": {}, "errorRate": {}},
}
WALK = [("", 0), ("v2", 0), ("v2", 5), ("v2", 25), ("v2", 100), ("v2", 0), ("", 0)]


def story(main: Callable[[RolloutCluster], Awaitable[None]], **spec: Any) -> None:
    async def run() -> None:
        world = RolloutCluster(**{**SHORT, **spec})
        world.servers.add("fx-server-1")
        world.servers.add("fx-server-2")
        await main(world)

    run_virtual(run())


async def at_weight(world: RolloutCluster, weight: int) -> Operator:
    """Start an operator and bring v2 to ``weight``, with gates that hold it there."""
    operator = Operator(world)
    operator.start()
    world.publish("v1")
    await world.until("Stable", seconds=60)
    world.passing()
    world.publish("v2")
    for _ in range(1000):
        await asyncio.sleep(0.1)
        if world.document.weight == weight:
            break
    world.verdicts["latency"] = Verdict.NO_DATA
    await asyncio.sleep(1)
    assert world.document.weight == weight
    return operator


def lasting(status: RolloutStatus) -> dict[str, Any]:
    """Return what must not depend on when something happened."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    kept = ("phase", "reason", "weight", "stable", "candidate", "previous", "walk", "handled")
    back = (status.rollback.version, status.rollback.reason, status.rollback.quarantined) if status.rollback is not None else ()
    history = [(one.version, one.outcome, one.reason, one.weight) for one in status.history]
    conditions = [(one.type, one.status, one.reason) for one in status.conditions]
    return {**{name: found[name] for name in kept}, "rollback": back, "history": history, "conditions": conditions}


def test_from_nothing_to_promoted() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = Operator(world)
        operator.start()
        world.publish("v1")
        await world.until("Stable", seconds=60)
        assert world.document.stable is not None
        assert world.document.stable.version == "v1"
        world.passing()
        world.publish("v2")
        await world.until("Watching", seconds=600)
        await world.until("Stable", seconds=600)
        assert world.history == WALK
        assert world.document.stable.version == "v2"
        await asyncio.sleep(5)
        check_ledger(world)
        check_audit(world, promoted=True)
        reasons = [found["reason"] for (kind, _, _), found in world.cluster.objects.items() if kind is EVENT]
        assert reasons.count("WalkStarted") == 1
        assert reasons.count("Promoted") == 1
        await operator.stop()

    story(main)


def check_ledger(world: RolloutCluster) -> None:
    """Every decision is there, once, and each record names the one before."""
    uid = world.cluster.peek(ROLLOUT, NS, NAME)["metadata"]["uid"]
    records = [data for uri, data in sorted(world.objects.objects.items()) if uri.startswith(f"s3://ledger/x/rollouts/{NS}/{NAME}/{uid}/")]
    assert len(records) == world.status.sequence
    previous = ""
    for number, data in enumerate(records, start=1):
        record = json.loads(data)
        assert (record["seq"], record["previous"]) == (number, previous)
        previous = digest(data)


def check_audit(world: RolloutCluster, *, promoted: bool) -> None:
    """One row for the one walk that compared two models, though the process may have died between row and ledger."""
    [row] = [json.loads(data) for uri, data in world.objects.objects.items() if uri.startswith("s3://ledger/x/ab_test_runs/")]
    assert (row["arm_a_version"], row["arm_b_version"]) == ("v1", "v2")
    assert (row["namespace"], row["rollout"]) == (NS, NAME)
    assert (row["swap_recommended"], row["swap_executed"]) == (promoted, promoted)
    assert row["reason"] == ("Finish" if promoted else "PsiFailed")
    assert row["ts_iso"].endswith("Z")


def test_idle_is_no_read_and_no_write() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = Operator(world)
        operator.start()
        world.publish("v1")
        await world.until("Stable", seconds=60)
        await asyncio.sleep(30)
        writes, reads, stored = len(world.cluster.writes), world.cluster.reads, len(world.objects.reads)
        operator.intake.resync(within=600)
        await asyncio.sleep(3600)
        assert (len(world.cluster.writes), world.cluster.reads, len(world.objects.reads)) == (writes, reads, stored)
        again = Operator(world)
        await operator.stop()
        again.start()
        await asyncio.sleep(600)
        assert len(world.cluster.writes) == writes, "a restart writes nothing either"
        assert world.cluster.reads == reads
        await again.stop()

    story(main)


@pytest.mark.parametrize("end", ["promoted", "rolled back"])
def test_killed_after_any_write_it_comes_to_the_same_end(end: str) -> None:
    ends: list[dict[str, Any]] = []
    histories: list[list[tuple[str, int]]] = []

    async def life(world: RolloutCluster, crash_after: int | None) -> int:
        operator = Operator(world, crash_after=crash_after)
        operator.start()
        world.publish("v1")
        began = asyncio.get_running_loop().time()
        published = False
        while asyncio.get_running_loop().time() - began < 200:
            await asyncio.sleep(0.5)
            if operator.crasher.crashed:
                await operator.stop()
                operator = Operator(world)
                operator.start()
            phase = world.status.phase
            if phase == "Stable" and not published:
                published = True
                world.passing()
                world.publish("v2")
            if end == "rolled back" and published and world.document.weight == 25:
                world.verdicts["psi"] = Verdict.FAIL
            finished = "v2" in [one.version for one in world.status.history] and phase in {"Stable", "RolledBack"}
            if finished:
                await asyncio.sleep(10)
                break
        check_ledger(world)
        check_audit(world, promoted=end == "promoted")
        writes = len(operator.crasher.log)
        await operator.stop()
        ends.append(lasting(world.status))
        histories.append(world.history)
        return writes

    async def run(crash_after: int | None) -> int:
        world = RolloutCluster(**SHORT)
        world.servers.add("fx-server-1")
        world.servers.add("fx-server-2")
        return await life(world, crash_after)

    total = run_virtual(run(None))
    assert total > 30
    for count in range(1, total + 1):
        run_virtual(run(count))
        assert ends[-1] == ends[0], f"killed after write {count} of {total}"
        assert histories[-1] == histories[0], f"killed after write {count} of {total}"
    assert ends[0]["stable"]["version"] == ("v2" if end == "promoted" else "v1")


def test_an_abort_is_in_the_document_before_the_status_and_on_every_pod_within_three_seconds() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.objects.away = True  # neither store nor ledger is waited for
        operator.crasher.log.clear()
        asked = asyncio.get_running_loop().time()
        text = json.dumps({"id": "a1", "candidate": "v2", "phase": "25", "by": "ann", "reason": "it smells"})
        world.annotate("abort", text)
        while not all(server.document == world.document for server in world.servers.by_uid.values()) or world.document.weight:
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - asked < 3
        assert asyncio.get_running_loop().time() - asked < 0.5
        assert operator.crasher.log[0] == f"patch ConfigMap {NS}/{TARGET}-routing"
        assert operator.crasher.log.index(f"status ModelRollout {NS}/{NAME}") > 0
        assert world.document.stable is not None
        assert world.document.stable.version == "v1"
        await world.until("RolledBack", seconds=10)
        metrics = operator.metrics.render().decode()
        assert 'walkforward_rollout_aborts_total{cause="Aborted"} 1.0' in metrics
        assert "walkforward_rollout_abort_seconds_count 1.0" in metrics
        await operator.stop()

    story(main)


def test_an_abort_goes_through_although_nothing_can_be_read() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.cluster.fault = lambda what: Unreachable(what) if what.startswith(("get", "list", "status")) else None
        world.verdicts["sharpe"] = Verdict.FAIL
        await asyncio.sleep(2.6)
        assert world.document.weight == 0
        assert world.document.abort is not None
        assert all(server.document == world.document for server in world.servers.by_uid.values())
        world.cluster.fault = lambda _: None
        await world.until("RolledBack", seconds=60)
        assert world.status.reason == "SharpeFailed"
        await operator.stop()

    story(main)


def test_an_abort_waits_for_nobody_s_turn() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        while not operator.service._turns.locked():
            await operator.service._turns.acquire()  # as a thousand other rollouts would
        world.passing()
        await asyncio.sleep(20)
        assert world.document.weight == 25, "a rise does wait"
        world.verdicts["sharpe"] = Verdict.FAIL
        await asyncio.sleep(2.6)
        assert world.document.weight == 0
        assert all(server.document == world.document for server in world.servers.by_uid.values())
        operator.service._turns.release()
        await world.until("RolledBack", seconds=10)
        await operator.stop()

    story(main)


def test_an_abort_that_the_api_server_does_not_take_is_tried_until_it_does() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.cluster.fault = lambda what: Unreachable(what) if "routing" in what else None
        world.verdicts["sharpe"] = Verdict.FAIL
        await asyncio.sleep(60)
        assert world.document.weight == 25
        world.cluster.fault = lambda _: None
        await asyncio.sleep(20)
        assert world.document.weight == 0
        await operator.stop()

    story(main)


def test_a_document_that_is_refused_is_said_and_healed() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.cluster.fault = lambda what: Forbidden(what) if what.startswith("patch ConfigMap") else None
        world.verdicts["sharpe"] = Verdict.FAIL
        await asyncio.sleep(10)
        assert world.document.weight == 25
        conditions = {condition.type: condition for condition in world.status.conditions}
        assert "cannot be written" in conditions["RouterFailing"].message
        world.cluster.fault = lambda _: None
        await asyncio.sleep(5)
        assert world.document.weight == 0
        assert "RouterFailing" not in {condition.type for condition in world.status.conditions}
        await operator.stop()

    story(main)


def rewrite(world: RolloutCluster, **changes: Any) -> None:
    """Edit the routing document as a person with kubectl would."""
    found = world.cluster.peek(CONFIG_MAP, NS, f"{TARGET}-routing")
    document = RoutingDocument.parse(found["data"]["routing.json"].encode())
    found["data"]["routing.json"] = msgspec.structs.replace(document, **changes).to_bytes().decode()
    world.cluster.put(CONFIG_MAP, found)


def test_a_person_who_writes_zero_is_obeyed() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        rewrite(world, weight=0)
        await world.until("RolledBack", seconds=10)
        assert world.document.weight == 0
        assert world.status.reason == "ManualRoute"
        await operator.stop()

    story(main)


def test_a_person_who_writes_a_hundred_is_healed() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 5)
        rewrite(world, weight=100)
        await asyncio.sleep(2)
        assert world.document.weight == 5
        assert 'walkforward_route_drift_total{outcome="Healed"} 1.0' in operator.metrics.render().decode()
        await operator.stop()

    story(main)


def test_a_pod_that_the_kubelet_forgot_is_bumped_again() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 5)
        first = next(iter(world.servers.by_uid.values()))
        first.stuck = True
        world.verdicts["sharpe"] = Verdict.FAIL
        await asyncio.sleep(2.5)
        assert world.document.weight == 0
        assert first.document != world.document
        first.stuck = False
        await asyncio.sleep(2.5)
        assert first.document == world.document
        name = next(name for (kind, _, name), found in world.cluster.objects.items() if found["metadata"]["uid"] == first.uid)
        value = world.cluster.peek(POD, NS, name)["metadata"]["annotations"]["walkforward.dev/routing"]
        assert value.startswith(f"{world.document.generation}.")
        await operator.stop()

    story(main)


def test_a_pod_born_in_a_phase_is_pushed_and_asked() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 5)
        born = world.servers.add("fx-server-3")
        await asyncio.sleep(3)
        assert born.applied is not None
        value = world.cluster.peek(POD, NS, "fx-server-3")["metadata"]["annotations"]["walkforward.dev/routing"]
        assert value == str(world.document.generation)
        assert born.seq > 0
        await operator.stop()

    story(main)


def evidence(world: RolloutCluster) -> int:
    """Return the requests that are banked for v2."""
    import base64

    from walkforward_core.evidence import Bank

    document = world.document
    assert document.measure is not None
    found = [item for (kind, _, name), item in world.cluster.objects.items() if kind is CONFIG_MAP and "-evidence-" in name]
    uid = world.cluster.peek(ROLLOUT, NS, NAME)["metadata"]["uid"]
    stored = {number: base64.b64decode(item["binaryData"]["evidence.json.gz"]) for number, item in enumerate(found)}
    bank = Bank.load(stored, rollout_uid=uid, plan=document.measure.plan, evidence_from=document.evidence_from)
    return sum(pair.n for shard in bank.shards for part in (shard.closed, *shard.open.values()) for pair in part.pairs)


def test_evidence_outlives_pods_and_the_operator() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 5)
        await asyncio.sleep(20)
        counted = evidence(world)
        assert counted > 0
        world.cluster.remove(POD, NS, "fx-server-1")
        await asyncio.sleep(5)
        assert evidence(world) >= counted
        await operator.stop()
        again = Operator(world)
        again.start()
        await asyncio.sleep(20)
        assert evidence(world) >= counted
        await again.stop()

    story(main)


def test_without_a_ledger_nothing_rises_and_nobody_waits_to_abort() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 5)
        world.objects.away = True
        text = json.dumps({"id": "p1", "candidate": "v2", "phase": "25", "by": "ann", "reason": "look"})
        world.annotate("pause", text)  # a decision that the ledger has to keep
        await asyncio.sleep(2)
        world.annotate("resume", text.replace("p1", "r1"))
        world.passing()
        await asyncio.sleep(60)
        assert world.document.weight == 5
        assert "LedgerBehind" in {condition.type for condition in world.status.conditions}
        world.objects.away = False
        await asyncio.sleep(60)
        assert world.history[-1] == WALK[-1], "it went on to the end"
        check = {condition.type for condition in world.status.conditions}
        assert "LedgerBehind" not in check
        await operator.stop()

    story(main)


def test_a_deleted_rollout_brings_stable_back_and_goes() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.cluster.remove(ROLLOUT, NS, NAME)
        await asyncio.sleep(5)
        with pytest.raises(NotFound):
            world.cluster.peek(ROLLOUT, NS, NAME)
        assert world.document.weight == 0
        assert world.document.stable is not None
        assert world.document.stable.version == "v1"
        await asyncio.sleep(30)
        assert KEY not in operator.service._memories
        assert f'name="{NAME}"' not in operator.metrics.render().decode()
        await operator.stop()

    story(main)


def test_in_a_namespace_that_goes_nothing_is_held_up() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        namespace = world.cluster.peek(NAMESPACE, "", NS)
        namespace["metadata"]["finalizers"] = ["kubernetes"]
        world.cluster.put(NAMESPACE, namespace)
        world.cluster.remove(NAMESPACE, "", NS)
        world.cluster.remove(CONFIG_MAP, NS, f"{TARGET}-routing")
        world.cluster.remove(ROLLOUT, NS, NAME)
        await asyncio.sleep(5)
        with pytest.raises(NotFound):
            world.cluster.peek(ROLLOUT, NS, NAME)
        await operator.stop()

    story(main)


def test_in_a_namespace_that_took_the_right_to_read_along_nothing_is_held_up_either() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        namespace = world.cluster.peek(NAMESPACE, "", NS)
        namespace["metadata"]["finalizers"] = ["kubernetes"]
        world.cluster.put(NAMESPACE, namespace)
        world.cluster.remove(NAMESPACE, "", NS)

        def fault(what: str) -> Forbidden | None:
            read = what.startswith(("get", "list")) and "Namespace" not in what
            return Forbidden(what) if read or what.startswith(("status", "patch ConfigMap")) else None

        world.cluster.fault = fault
        world.cluster.remove(ROLLOUT, NS, NAME)
        await asyncio.sleep(30)
        with pytest.raises(NotFound):
            world.cluster.peek(ROLLOUT, NS, NAME)
        await operator.stop()

    story(main)


def test_evidence_that_cannot_be_banked_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        for times in (1, 2):
            world.cluster.fault = lambda what: Forbidden("it is being terminated") if "evidence" in what else None
            await asyncio.sleep(60)
            assert sum("not banked" in record.getMessage() for record in caplog.records) == times
            assert operator.metrics.unbanked._value.get() > 10 * times, "it is tried again and counted"
            world.cluster.fault = lambda _: None
            await asyncio.sleep(20)
        await operator.stop()

    story(main)


def test_without_the_right_to_read_a_rollout_that_stays_keeps_its_finalizer() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = await at_weight(world, 25)
        world.cluster.fault = lambda what: Forbidden(what) if what.startswith("get ModelRollout") else None
        world.cluster.remove(ROLLOUT, NS, NAME)
        await asyncio.sleep(20)
        assert world.cluster.peek(ROLLOUT, NS, NAME)["metadata"]["finalizers"]
        world.cluster.fault = lambda _: None
        await asyncio.sleep(30)
        with pytest.raises(NotFound):
            world.cluster.peek(ROLLOUT, NS, NAME)
        assert world.document.weight == 0
        await operator.stop()

    story(main)


def test_a_second_rollout_on_the_target_is_refused_until_the_first_goes() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = Operator(world)
        operator.start()
        world.publish("v1")
        await world.until("Stable", seconds=60)
        spec = world.cluster.peek(ROLLOUT, NS, NAME)["spec"]
        world.cluster.put(ROLLOUT, {"metadata": {"namespace": NS, "name": "other"}, "spec": spec})
        await asyncio.sleep(5)
        refused = world.cluster.peek(ROLLOUT, NS, "other")["status"]
        assert refused["reason"] == "TargetLocked"
        assert "ModelRollout fx" in refused["message"]
        document = world.document
        world.cluster.remove(ROLLOUT, NS, NAME)
        await asyncio.sleep(40)
        taken = world.cluster.peek(ROLLOUT, NS, "other")
        assert taken["status"]["phase"] == "Stable"
        assert world.document.stable == document.stable
        assert world.document.rollout.uid == taken["metadata"]["uid"]
        await operator.stop()

    story(main)


def test_a_bundle_that_is_not_what_was_promised_is_never_walked() -> None:
    async def main(world: RolloutCluster) -> None:
        operator = Operator(world)
        operator.start()
        world.publish("v1")
        await world.until("Stable", seconds=60)
        world.publish("v2")
        uri = next(uri for uri in world.objects.objects if uri.endswith("v2/manifest.json"))
        world.objects.objects[uri] += b" "
        await asyncio.sleep(10)
        assert world.document.candidate is None
        condition = next(one for one in world.status.conditions if one.type == "SourceUnavailable")
        assert "promised was" in condition.message
        world.objects.objects[uri] = world.objects.objects[uri].rstrip()
        await asyncio.sleep(60)
        assert world.document.candidate is not None
        await operator.stop()

    story(main)
