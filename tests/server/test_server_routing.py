"""The split, the ways back, and what a pod makes of documents and bundles that are wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bundles import TRIGGER, logistic, make_bundle, remade
from server_harness import POD, T0, Running, measure, prove_here, routing, running

from walkforward_core.routing import SplitBy, WithoutModel, bucket, salt_for
from walkforward_server import fleet
from walkforward_server.child import prove
from walkforward_server.prove import Report

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import Made

    from walkforward_core.routing import ModelRef
    from walkforward_server.config import Settings

INFER = "/v2/models/fx/infer"
ROW = [0.5, -0.25, 1.0]
BROKEN = [TRIGGER + 1, 0.0, 0.0]


def two(folder: Path, **fields: Any) -> tuple[Made, Made]:
    return make_bundle(folder, day=1), make_bundle(folder, **{"day": 2, "weights": (0.9, -1.2, 1.1), **fields})


def rows_of(stats: Any) -> dict[str, Any]:
    return {row["version"]: row for row in stats["rows"] if row["generation"]}


async def test_split_is_the_contract_s_hash(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    salt = salt_for("uid", b.ref.digest)
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=25, shadow=True, salt=salt))
    client = server.client()
    arms = {}
    for number in range(300):
        answer = (await server.infer(ROW, via=client, client=f"c{number}")).json
        arms[f"c{number}"] = answer["parameters"]["arm"]
        assert answer["model_version"] == (b if arms[f"c{number}"] == "candidate" else a).ref.version
    assert arms == {key: "candidate" if bucket(key, salt) < 2500 else "stable" for key in arms}
    # those of 5 % are among those of 25 %
    await server.apply(routing(generation=2, stable=a.ref, candidate=b.ref, weight=5, shadow=True, salt=salt))
    fewer = {key for key in arms if (await server.infer(ROW, via=client, client=key)).json["parameters"]["arm"] == "candidate"}
    assert fewer == {key for key in arms if bucket(key, salt) < 500}
    assert fewer < {key for key, arm in arms.items() if arm == "candidate"}


async def test_the_border_of_the_split_is_exact(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    salt = salt_for("uid", b.ref.digest)
    client = server.client()

    async def arm_of(place: int) -> str:
        key = next(key for key in (f"c{number}" for number in itertools.count()) if bucket(key, salt) == place)
        return (await server.infer(ROW, via=client, client=key)).json["parameters"]["arm"]

    # without a weight nobody, not even the first bucket; with all of it everybody, also the last
    for generation, (weight, inside, outside) in enumerate(((0, None, 0), (25, 2499, 2500), (100, 9999, None)), start=1):
        await server.apply(routing(generation=generation, stable=a.ref, candidate=b.ref, weight=weight, shadow=True, salt=salt))
        assert inside is None or await arm_of(inside) == "candidate"
        assert outside is None or await arm_of(outside) == "stable"


async def test_each_walk_draws_its_keys_anew(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    client = server.client()
    for generation, salt in enumerate((salt_for("uid", "one"), salt_for("uid", "two"), salt_for("uid", "one")), start=1):
        await server.apply(routing(generation=generation, stable=a.ref, candidate=b.ref, weight=50, shadow=True, salt=salt))
        for key in (f"c{number}" for number in range(40)):
            answer = (await server.infer(ROW, via=client, client=key)).json["parameters"]
            assert answer["arm"] == ("candidate" if bucket(key, salt) < 5000 else "stable")


@pytest.mark.parametrize("split", list(SplitBy))
async def test_every_parameter_can_be_split_by(server: Running, tmp_path: Path, split: SplitBy) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True, split_by=split))
    assert (await server.infer(ROW, **{split.value: "key"})).json["parameters"]["arm"] == "candidate"
    assert (await server.infer(ROW)).json["parameters"]["arm"] == "stable"
    if split is SplitBy.ID:
        assert (await server.infer(ROW, request_id="key")).json["parameters"]["arm"] == "candidate"
    rows = rows_of(await server.stats())
    assert rows[a.ref.version]["requests"]["unkeyed"] == 1


@pytest.mark.parametrize("header", ["Walkforward-Attempt", "X-Envoy-Attempt-Count"])
async def test_what_is_asked_again_the_model_on_trial_does_not_see(server: Running, tmp_path: Path, header: str) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True, measure=measure()))
    body = {
        "inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW}],
        "parameters": {"client": "c", "ts": T0, "symbol": "EURUSD"},
    }
    said = {
        attempt: (await server.post(INFER, body, headers={header: attempt})).json["parameters"] for attempt in ("1", "2", "17", "nonsense")
    }
    assert said.pop("1")["arm"] == "candidate"
    for parameters in said.values():
        assert (parameters["arm"], parameters["fallback"]) == ("stable", False)
        assert "receipt" not in parameters, "its outcome would have the row scored by both"
    of_candidate = (await server.post(f"/v2/models/fx/versions/{b.ref.version}/infer", body, headers={header: "2"})).json
    assert "is on trial" in of_candidate["error"]
    of_stable = await server.post(f"/v2/models/fx/versions/{a.ref.version}/infer", body, headers={header: "2"})
    assert of_stable.status == 200
    stats = await server.stats()
    rows = rows_of(stats)
    assert rows[a.ref.version]["requests"] | {"unkeyed": 0} == {"exposed": 3, "shadow": 1, "unkeyed": 0, "fallback": 0, "shadowSkipped": 0}
    assert rows[b.ref.version]["requests"] == {"exposed": 1, "shadow": 0, "unkeyed": 0, "fallback": 0, "shadowSkipped": 3}
    # what one model has not seen is no evidence for the other
    assert stats["pairs"][0]["n"] == 1
    assert rows[a.ref.version]["bars"] == rows[b.ref.version]["bars"]
    assert "\nml_repeated_requests_total 5\n" in (await server.get("/metrics", admin=True)).body.decode()


async def test_what_is_asked_again_after_a_promotion_the_previous_model_answers(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=b.ref, previous=a.ref, shadow=True))
    body = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW}], "parameters": {"client": "c"}}
    again = {"Walkforward-Attempt": "2"}
    assert (await server.post(INFER, body)).json["parameters"]["arm"] == "stable"
    said = (await server.post(INFER, body, headers=again)).json
    assert (said["parameters"]["arm"], said["model_version"]) == ("previous", a.ref.version)
    # no model is on trial any more: an attempt is like any other, and counts as evidence like any other
    await server.apply(routing(generation=2, stable=b.ref))
    assert (await server.post(INFER, body, headers=again)).json["parameters"]["arm"] == "stable"
    rows = {row["generation"]: row for row in (await server.stats())["rows"]}
    assert rows[2]["bars"]["distinct"] == 1


async def test_candidate_that_cannot_answer_is_replaced_and_counted(server: Running, tmp_path: Path) -> None:
    for generation, trap in enumerate(("nan", "raise"), start=1):
        a, b = two(tmp_path / f"store-{trap}", trap=trap)
        await server.apply(routing(generation=generation, stable=a.ref, candidate=b.ref, weight=100, shadow=True))
        good = (await server.infer(ROW, client="c")).json
        assert (good["parameters"]["arm"], good["parameters"]["fallback"]) == ("candidate", False)
        answer = (await server.infer(BROKEN, client="c")).json
        assert answer["parameters"]["arm"] == "stable"
        assert answer["parameters"]["fallback"] is True
        assert answer["model_version"] == a.ref.version
        stats = await server.stats(generation)
        rows = rows_of(stats)
        assert rows[b.ref.version]["requests"] == {"exposed": 1, "shadow": 0, "unkeyed": 0, "fallback": 1, "shadowSkipped": 0}
        assert rows[a.ref.version]["requests"]["exposed"] == 1
        errors = rows[b.ref.version]["errors"]
        assert errors == ({"Exception": 0, "NonFinite": 1} if trap == "nan" else {"Exception": 1, "NonFinite": 0})
        assert stats["pairs"][-1]["onlyCandidateFailed"] == 1
        assert rows[a.ref.version]["errors"] == {"Exception": 0, "NonFinite": 0}


async def test_shadow_failure_costs_no_client_anything(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store", trap="raise")
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=0, shadow=True))
    assert (await server.infer(BROKEN, client="c")).json["parameters"]["fallback"] is False
    rows = rows_of(await server.stats())
    assert rows[b.ref.version]["errors"]["Exception"] == 1
    assert rows[b.ref.version]["requests"]["shadow"] == 1


async def test_stable_that_fails_is_replaced_by_the_previous_model(server: Running, tmp_path: Path) -> None:
    previous, promoted = two(tmp_path / "store", trap="nan")
    await server.apply(routing(stable=promoted.ref, previous=previous.ref, shadow=True))
    answer = (await server.infer(BROKEN, client="c")).json
    assert (answer["parameters"]["arm"], answer["parameters"]["fallback"]) == ("previous", True)
    assert (await server.infer(ROW, client="c")).json["parameters"]["arm"] == "stable"
    stats = await server.stats()
    roles = {row["version"]: row["role"] for row in stats["rows"]}
    assert roles == {promoted.ref.version: "candidate", previous.ref.version: "stable"}
    assert (stats["pairs"][0]["stable"], stats["pairs"][0]["candidate"]) == (previous.ref.version, promoted.ref.version)
    assert stats["pairs"][0]["onlyCandidateFailed"] == 1


async def test_exposure_ends_by_itself(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    ends = datetime.now(UTC) + timedelta(seconds=2)
    await server.apply(
        routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True, exposure_not_after=ends.isoformat().replace("+00:00", "Z"))
    )
    client = server.client()
    assert (await server.infer(ROW, via=client, client="c")).json["parameters"]["arm"] == "candidate"
    while datetime.now(UTC) < ends:
        assert (await server.infer(ROW, via=client, client="c")).status == 200
        await asyncio.sleep(0.05)
    assert (await server.infer(ROW, via=client, client="c")).json["parameters"]["arm"] == "stable"
    report = (await server.get("/v1/routing", admin=True)).json
    assert report["models"][b.ref.version]["reason"].startswith("ExposureExpired")
    assert "ml_exposure_expired 1" in (await server.get("/metrics", admin=True)).body.decode()


@pytest.mark.parametrize("policy", [WithoutModel.ALLOW, WithoutModel.REFUSE, None])
async def test_without_any_model(server: Running, policy: WithoutModel | None) -> None:
    await server.apply(routing(without_model=policy))
    reply = await server.infer(ROW, base_position=-0.5, client="c")
    ready = (await server.get("/readyz", admin=True)).status
    if policy is not WithoutModel.ALLOW:
        assert (reply.status, ready, reply.headers["retry-after"]) == (503, 503, "1")
        return
    assert ready == 200
    assert reply.json["parameters"] == {"generation": 1, "arm": "none", "fallback": True}
    assert reply.json["outputs"] == [{"name": "position", "datatype": "FP64", "shape": [1], "data": [-0.5]}]
    (row,) = (await server.stats())["rows"]
    assert (row["version"], row["requests"]["fallback"], row["requests"]["exposed"]) == ("", 1, 0)


async def test_request_without_the_candidate_s_columns_refuses_the_candidate(server: Running, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "store", day=1)
    b = make_bundle(tmp_path / "store", day=2, features=("a", "b", "c", "d"))
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True))
    answer = (await server.infer([*ROW, 0.1], features="a,b,c,d", client="c")).json
    assert answer["parameters"]["arm"] == "candidate"
    answer = (await server.infer(ROW, client="c")).json
    assert (answer["parameters"]["arm"], answer["parameters"]["fallback"]) == ("stable", True)
    report = (await server.get("/v1/routing", admin=True)).json["models"][b.ref.version]
    assert report["state"] == "Refused"
    assert report["reason"] == "FeaturesMissing: requests lack d"
    assert (await server.infer([*ROW, 0.1], features="a,b,c,d", client="c")).json["parameters"]["arm"] == "stable"


async def test_a_document_that_is_wrong_changes_nothing(server: Running, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "store")
    assert "no routing document yet" in (await server.get("/v1/routing", admin=True)).json["error"]
    good = await server.apply(routing(stable=a.ref))
    assert good["error"] is None
    spoiled = json.loads(routing(generation=2, stable=a.ref).to_bytes())
    for wrong, message in (
        (b"{", "routing.json"),
        (b"", "routing.json"),
        (json.dumps({**spoiled, "schema": "walkforward.dev/routing/v2"}).encode(), "this reader understands"),
        (json.dumps({**spoiled, "weight": 140}).encode(), "weight is 140"),
        (json.dumps({**spoiled, "salt": "short"}).encode(), "salt is 'short'"),
        (json.dumps({**spoiled, "exposureNotAfter": "tomorrow"}).encode(), "exposureNotAfter is 'tomorrow'"),
        (json.dumps({**spoiled, "exposureNotAfter": "2026-01-01T00:00:00"}).encode(), "expected a time zone"),
    ):
        server.write(wrong)
        await asyncio.sleep(0.12)
        report = (await server.get("/v1/routing", admin=True)).json
        assert message in report["error"]
        assert report["applied"] == good["applied"]
        assert (await server.infer(ROW)).status == 200
    (server.routing / "routing.json").unlink()
    await asyncio.sleep(0.12)
    report = (await server.get("/v1/routing", admin=True)).json
    assert "is gone; the document" in report["error"]
    assert (await server.infer(ROW)).status == 200
    assert (await server.apply(routing(generation=3, stable=a.ref)))["error"] is None


async def test_follows_the_kubelet_s_link(server: Running, tmp_path: Path) -> None:
    """The kubelet writes a new directory and swaps the link ``..data``; ``routing.json`` links through it."""
    a, b = two(tmp_path / "store")

    def swap(name: str, document: bytes) -> None:
        (server.routing / name).mkdir()
        (server.routing / name / "routing.json").write_bytes(document)
        (server.routing / "..data_tmp").symlink_to(name)
        os.replace(server.routing / "..data_tmp", server.routing / "..data")  # noqa: PTH105 - replaces the link, not its target

    (server.routing / "routing.json").symlink_to("..data/routing.json")
    for generation, made in ((1, a), (2, b)):
        document = routing(generation=generation, stable=made.ref)
        swap(f"..{generation}", document.to_bytes())
        deadline = time.monotonic() + 10
        while (await server.infer(ROW)).status != 200 or (await server.infer(ROW)).json["model_version"] != made.ref.version:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    shutil.rmtree(server.routing / "..1")


async def test_bundles_that_are_not_what_was_promised_never_serve(server: Running, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "store", day=1)

    def other_model(files: dict[str, bytes]) -> None:
        files["model.onnx"] = a.files["model.onnx"]

    def other_golden(files: dict[str, bytes]) -> None:
        files["golden.json"] = files["golden.json"].replace(b"0.", b"0.1", 1)

    def other_manifest(files: dict[str, bytes]) -> None:
        files["manifest.json"] = files["manifest.json"].replace(b'"trials":1', b'"trials":2')

    cases = [
        (make_bundle(tmp_path / "s1", day=2, weights=(1, 2, 3), change=other_model).ref, "model.onnx has sha256"),
        (make_bundle(tmp_path / "s2", day=3, weights=(1, 2, 4), change=other_golden).ref, "golden.json has sha256"),
        (make_bundle(tmp_path / "s3", day=4, weights=(1, 2, 5), change=other_manifest).ref, "manifest.json has sha256"),
    ]
    for generation, (ref, message) in enumerate(cases, start=1):
        report = await server.apply(routing(generation=generation, stable=a.ref, candidate=ref, weight=100, shadow=True))
        model = report["models"][ref.version]
        assert model["state"] == "Refused"
        assert message in model["reason"]
        answer = (await server.infer(ROW, client="c")).json["parameters"]
        assert (answer["version"], answer["arm"], answer["fallback"]) == (a.ref.version, "stable", True)


async def test_golden_rows_that_this_runtime_does_not_reproduce(server: Running, tmp_path: Path) -> None:
    """All digests are right; the outputs that the trainer promised are not the model's."""
    a = make_bundle(tmp_path / "store", day=1)
    b = remade(make_bundle(tmp_path / "store", day=2, weights=(1.0, 2.0, 3.0)), tmp_path / "other", logistic((1.0, 2.0, 3.001)))
    report = await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True))
    assert report["models"][b.ref.version]["state"] == "Refused"
    assert "does not reproduce the trained model" in report["models"][b.ref.version]["reason"]
    # as stable it does not serve either: what stood before goes on
    await server.apply(routing(generation=2, stable=b.ref))
    assert (await server.infer(ROW)).json["model_version"] == a.ref.version


async def test_only_allowed_roots_are_fetched(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    async with running(tmp_path, allow_file=False, roots=("s3://models/",)) as server:
        report = await server.apply(routing(stable=made.ref))
        assert report["models"][made.ref.version]["state"] == "Refused"
        assert "Forbidden" in report["models"][made.ref.version]["reason"]
        assert (await server.infer(ROW)).status == 503


async def test_damaged_cache_is_fetched_again(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref))
    cached = server.node.settings.state / "bundles" / b.ref.digest.removeprefix("sha256:")
    assert cached.is_dir()
    await server.apply(routing(generation=2, stable=a.ref))
    assert not cached.exists()  # what no document names is not kept
    shutil.copytree(tmp_path / "store" / b.ref.version, cached)
    (cached / "golden.json").write_bytes(b"{}")
    report = await server.apply(routing(generation=3, stable=a.ref, candidate=b.ref))
    assert report["models"][b.ref.version]["state"] == "Ready"
    assert (cached / "golden.json").read_bytes() == b.files["golden.json"]


async def test_one_pod_proves_first(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    report = await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True, prove_on="pod-b"))
    assert report["models"][b.ref.version]["state"] == "Waiting"
    assert report["models"][a.ref.version]["state"] == "Ready"
    report = await server.apply(routing(generation=2, stable=a.ref, candidate=b.ref, shadow=True, prove_on=POD))
    assert report["models"][b.ref.version]["state"] == "Ready"
    report = await server.apply(routing(generation=3, stable=a.ref, candidate=b.ref, shadow=True, prove_on="pod-b"))
    assert report["models"][b.ref.version]["state"] == "Ready"


async def test_stable_comes_first_and_makes_the_pod_ready(tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    order: list[str] = []
    held = asyncio.Event()

    async def prover(settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
        order.append(ref.version)
        if trial:
            await held.wait()
        return await prove(settings, ref, trial=trial)

    async with running(tmp_path, prover=prover) as server:
        await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True), settled=False)
        deadline = time.monotonic() + 20
        while (await server.get("/readyz", admin=True)).status != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert order[0] == a.ref.version
        # a candidate that is not here yet answers nobody, and its share is counted
        assert (await server.infer(ROW, client="c")).json["parameters"]["fallback"] is True
        rows = rows_of(await server.stats())
        assert rows[b.ref.version]["requests"]["fallback"] == 1
        held.set()
        await server.apply(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True))
        assert (await server.infer(ROW, client="c")).json["parameters"]["arm"] == "candidate"


async def test_store_that_is_away_is_asked_again(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    calls = 0

    async def prover(settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
        nonlocal calls
        calls += 1
        if calls < 3:
            return Report(ok=False, retry=True, reason="StoreUnavailable", message="connection refused")
        return await prove(settings, ref, trial=trial)

    async with running(tmp_path, prover=prover) as server:
        await server.apply(routing(stable=made.ref), settled=False)
        await asyncio.sleep(0.1)
        report = (await server.get("/v1/routing", admin=True)).json["models"][made.ref.version]
        assert (report["state"], report["reason"]) == ("Loading", "StoreUnavailable: connection refused")
        await server.apply(routing(stable=made.ref))
        assert calls == 3
        assert (await server.infer(ROW)).status == 200


async def test_stable_that_was_refused_is_tried_again_in_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_bundle(tmp_path / "store")
    calls: list[float] = []

    async def prover(settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
        calls.append(time.monotonic())
        if len(calls) == 1:
            return Report(ok=False, reason="Forbidden", message="the key has no rights yet")
        if len(calls) == 2:
            raise RuntimeError("a bug")
        return await prove_here(settings, ref, trial=trial)

    monkeypatch.setattr(fleet, "RETRY_S", (0.3,))
    async with running(tmp_path, prover=prover) as server:
        report = await server.apply(routing(stable=made.ref))
        assert report["models"][made.ref.version]["reason"] == "Forbidden: the key has no rights yet"
        deadline = time.monotonic() + 20
        while (await server.infer(ROW)).status != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert len(calls) == 3
        assert min(b - a for a, b in itertools.pairwise(calls)) >= 0.3


async def test_a_swap_under_load_fails_no_request(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref))
    stop = asyncio.Event()
    seen: set[tuple[str, str]] = set()

    async def caller(name: str) -> int:
        client, count = server.client(), 0
        while not stop.is_set():
            reply = await server.infer(ROW, via=client, client=name, symbol="EURUSD")
            assert reply.status == 200, reply.body
            said = reply.json["parameters"]
            seen.add((said["version"], said["arm"]))
            count += 1
        return count

    callers = [asyncio.create_task(caller(f"c{number}")) for number in range(4)]
    generation = 1
    for _ in range(3):
        for fields in (
            {"stable": a.ref, "candidate": b.ref, "shadow": True},
            {"stable": a.ref, "candidate": b.ref, "shadow": True, "weight": 50},
            {"stable": b.ref, "previous": a.ref, "shadow": True},
            {"stable": b.ref},
            {"stable": a.ref},
        ):
            generation += 1
            await server.apply(routing(generation=generation, measure=measure(), **fields))
    stop.set()
    counts = await asyncio.gather(*callers)
    stats = await server.stats()
    assert sum(row["requests"]["exposed"] for row in stats["rows"]) == sum(counts)
    assert seen >= {(a.ref.version, "stable"), (b.ref.version, "stable"), (b.ref.version, "candidate")}


async def test_real_child_proves_and_reports(tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    b2 = make_bundle(tmp_path / "s2", day=3, weights=(3, 2, 1), change=lambda files: files.update({"golden.json": b"{}"}))
    async with running(tmp_path, prover=prove) as server:
        report = await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True))
        assert {model["state"] for model in report["models"].values()} == {"Ready"}
        report = await server.apply(routing(generation=2, stable=a.ref, candidate=b2.ref, shadow=True))
        assert report["models"][b2.ref.version]["state"] == "Refused"
        assert "golden.json has sha256" in report["models"][b2.ref.version]["reason"]


async def test_child_that_takes_too_long_or_too_much_refuses_the_candidate(tmp_path: Path) -> None:
    b = make_bundle(tmp_path / "store")
    async with running(tmp_path, prover=prove, proof_s=0.05) as server:
        await server.apply(routing(candidate=b.ref, shadow=True))
        report = (await server.get("/v1/routing", admin=True)).json["models"][b.ref.version]
        assert report["state"] == "Refused"
        assert report["reason"].startswith("ProofTimeout")
    async with running(tmp_path / "x", prover=prove, proof_memory=64 * 2**20) as server:
        await server.apply(routing(candidate=b.ref, shadow=True))
        report = (await server.get("/v1/routing", admin=True)).json["models"][b.ref.version]
        assert report["state"] == "Refused"
        assert report["reason"].split(":")[0] in ("ProofDied", "ProofFailed")
