"""What a run is made of beside its spec: shared overrides of a ConfigMap, and the bundles that retention must leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_cluster import Crash
from hypothesis import given
from hypothesis import strategies as st
from retrain_world import World
from retrains import HOUR, MINUTE, NOW, manual, spec

from walkforward_core.api.overrides import LIMIT, OverridesError, merged, parse
from walkforward_core.api.recipe import (
    Calibration,
    DecisionSpec,
    ModelParameters,
    Overrides,
    OverridesFrom,
    Selection,
    Target,
    TargetKind,
    Tuning,
)
from walkforward_core.api.retrain import Artifacts, Retention, Schedule
from walkforward_operator.cluster.errors import Forbidden
from walkforward_operator.cluster.kinds import CONFIG_MAP, RETRAIN, ROLLOUT
from walkforward_operator.retrain.status import ManualOutcome, RetrainPhase

if TYPE_CHECKING:
    from walkforward_core.runs import RunDocument

SHARED = spec(overrides_from=OverridesFrom(config_map="shared"), schedules=(Schedule(cron="0 * * * *"),))
KEEPING = spec(artifacts=Artifacts(uri="s3://models/fx", retention=Retention(keep_last=3)))
YAML = """
target: {kind: Direction, horizonBars: 3}
features: [rsi_14, macd]
model: {trees: 50, seed: 11}
calibration: Platt
"""


def share(world: World, text: str = YAML, *, name: str = "shared", key: str = "overrides.yaml") -> None:
    world.cluster.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": "prod"}, "data": {key: text}})


async def document(world: World) -> RunDocument:
    await world.settle()
    [job] = world.active
    return world.document(job)


# -- reading -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target: {horizonBar: 3}", "target.horizonBar is not known; did you mean horizonBars?"),
        ("modell: {}", "modell is not known; did you mean model?"),
        ("zzz: 1", "zzz is not known; there are target, features"),
        ("model: {trees: many}", "Expected `int | null`, got `str` - at `$.model.trees`"),
        ("model: {trees: 0}", "at `$.model.trees`"),
        ("tuning: {trials: 1, trails: 2}", "tuning.trails is not known; did you mean trials?"),
        ("calibration: Magic", "at `$.calibration`"),
        ("model: {trees: 1}\nmodel: {trees: 2}", "line 2: no YAML ('model' stands there twice)"),
        ("a: &x [1]\nb: *x", "line 1: no YAML (anchors and aliases are not read, write the value out)"),
        ("model: {trees: 1", "no YAML"),
        ("- 1", "there must be fields of spec.overrides"),
        ("model: !!python/object/apply:os.system ['true']", "no YAML"),
        ("? {a: 1}\n: 2", "no YAML"),
        ("model: \x01", "no YAML"),
        ("model: 2026-02-30", "no YAML (ValueError)"),
        ("[" * LIMIT, "line 1: no YAML (more than 16 levels)"),
        ("{a: " * 8_000, "line 1: no YAML (more than 16 levels)"),
        ("\n".join(f"{' ' * depth}a:" for depth in range(200)), "no YAML (more than 16 levels)"),
    ],
)
def test_what_is_no_override_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(OverridesError) as caught:
        parse(text, "ConfigMap shared, key a")
    assert words in str(caught.value)
    assert str(caught.value).startswith("ConfigMap shared, key a")


def test_nothing_said_is_nothing_overridden() -> None:
    assert parse("", "a") == parse("# later\n", "a") == {}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        merged(SHARED, parse(text, "a"))
    except OverridesError:
        return


def test_what_the_spec_says_itself_wins_field_by_field() -> None:
    shared = {
        "target": {"kind": "Risk", "horizonBars": 3},
        "features": ["rsi_14"],
        "model": {"trees": 50, "seed": 11},
        "tuning": {"trials": 7, "prune": False},
        "selection": {"best": 9},
        "calibration": "Platt",
    }
    own = Overrides(
        target=Target(kind=TargetKind.DIRECTION),
        model=ModelParameters(trees=20),
        decision=DecisionSpec(threshold=0.7),
        selection=Selection(),
        tuning=Tuning(trials=30),
    )
    found = merged(msgspec.structs.replace(SHARED, overrides=own), shared)
    assert found.overrides_from is None
    assert found.overrides == Overrides(
        target=Target(kind=TargetKind.DIRECTION, horizon_bars=3),
        features=("rsi_14",),
        model=ModelParameters(trees=20, seed=11),
        decision=DecisionSpec(threshold=0.7),
        selection=Selection(best=9),
        tuning=Tuning(trials=30, prune=True),  # the API server fills in what `tuning` leaves open, so all of it is said
        calibration=Calibration.PLATT,
    )
    assert merged(SHARED, {}).overrides == Overrides()


# -- in a run ----------------------------------------------------------------------------------------------------------------


async def test_a_run_is_made_of_the_shared_overrides() -> None:
    world = World(now_ms=NOW - MINUTE)
    share(world)
    world.apply(msgspec.structs.replace(SHARED, overrides=Overrides(model=ModelParameters(trees=20))))
    await world.settle()
    world.now_ms += 2 * MINUTE
    made = await document(world)
    assert made.spec.overrides.model == ModelParameters(trees=20, seed=11)
    assert made.spec.overrides.target == Target(kind=TargetKind.DIRECTION, horizon_bars=3)
    assert made.spec.overrides_from is None


async def test_an_edit_of_the_map_makes_another_run_and_none_is_noticed_in_between() -> None:
    names = []
    for text in (YAML, YAML, "model: {trees: 51}"):
        world = World(now_ms=NOW - MINUTE)
        share(world, text)
        world.apply(SHARED)
        await world.settle()
        reads = world.cluster.reads
        world.now_ms += 30_000
        await world.settle()
        assert world.cluster.reads == reads, "nothing is due, so nothing is asked for"
        world.now_ms += HOUR
        names.append((await document(world)).run)
    assert names[0] == names[1]
    assert names[1] != names[2]


@pytest.mark.parametrize(
    ("text", "key", "reason", "words"),
    [
        (None, "overrides.yaml", "OverridesMissing", "names ConfigMap 'shared', which does not exist: create it"),
        (YAML, "other.yaml", "OverridesMissing", "has no key 'overrides.yaml', its keys are other.yaml: add it"),
        ("model: {tree: 1}", "overrides.yaml", "OverridesInvalid", "model.tree is not known; did you mean trees?"),
        ("#" * (LIMIT + 1), "overrides.yaml", "OverridesMissing", f"{LIMIT + 1} bytes, at most {LIMIT} are read"),
    ],
)
async def test_without_the_map_no_run_begins_until_it_is_there(text: str | None, key: str, reason: str, words: str) -> None:
    world = World(now_ms=NOW - MINUTE)
    if text is not None:
        share(world, text, key=key)
    world.apply(SHARED)
    await world.settle()
    world.now_ms += 2 * MINUTE
    assert await world.settle() == 30
    assert world.jobs == []
    assert world.condition("Ready") == ("False", reason)
    assert world.condition("Stalled") == ("True", reason)
    assert words in world.status().message
    assert world.told == [reason]
    writes = len(world.cluster.writes)
    world.now_ms += MINUTE
    await world.settle()
    assert len(world.cluster.writes) == writes, "waiting writes nothing"
    share(world)
    world.now_ms += HOUR
    made = await document(world)
    assert made.as_of == "2026-03-02T13:00:00Z", "of the slots that came meanwhile the newest"
    assert world.condition("Stalled") is None


async def test_a_manual_run_without_the_map_is_refused() -> None:
    world = World()
    world.apply(msgspec.structs.replace(SHARED, schedules=()), annotations=manual("a"))
    await world.settle()
    assert world.manual().outcome is ManualOutcome.REFUSED
    assert "which does not exist" in world.manual().message
    assert world.status().phase is RetrainPhase.IDLE
    share(world)
    await world.settle()
    assert world.jobs == []


async def test_a_run_under_way_does_not_look_at_the_map_again() -> None:
    world = World()
    share(world)
    world.apply(SHARED, annotations=manual("a"))
    job = (await document(world)).run
    world.cluster.remove(CONFIG_MAP, "prod", "shared")
    world.restart()
    world.pod(job, running={})
    await world.settle()
    assert world.status().phase is RetrainPhase.RUNNING
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_the_same_run_after_a_crash_behind_any_write_and_another_where_the_map_was_edited_meanwhile() -> None:
    calm = World()
    share(calm)
    calm.apply(SHARED, annotations=manual("a"))
    expected = (await document(calm)).run
    for count in range(len(calm.cluster.writes)):
        for text in (YAML, "model: {trees: 51}"):
            world = World()
            share(world)
            world.apply(SHARED, annotations=manual("a"))
            world.cluster.crash_after = len(world.cluster.writes) + count + 1
            try:
                await world.settle()
            except Crash:
                world.restart()
            created = bool(world.jobs)
            share(world, text)
            made = await document(world)
            assert (made.run == expected) == (text == YAML or created)
            assert made.spec.overrides.model.trees == (50 if made.run == expected else 51)
            maps = [name for kind, _, name in world.cluster.objects if kind is CONFIG_MAP]
            assert sorted(maps) == sorted(["shared", made.run])
            world.cluster.crash_after = None


# -- what is in use ----------------------------------------------------------------------------------------------------------


def rollout(world: World, name: str, *, namespace: str = "prod", pinned: str = "", **models: str) -> None:
    body: dict[str, Any] = {"metadata": {"name": name, "namespace": namespace}, "spec": {"source": {"retrainRef": {"name": "other"}}}}
    if pinned:
        body["spec"]["source"] = {"bundle": {"uri": pinned, "digest": "sha256:1"}}
    body["status"] = {role: {"uri": uri, "digest": "sha256:1"} for role, uri in models.items()}
    world.cluster.put(ROLLOUT, body)


def routing(world: World, name: str, **models: str) -> None:
    named = {role: {"version": "1", "uri": uri, "digest": "sha256:1", "model": "sha256:2"} for role, uri in models.items()}
    text = {
        "schema": "walkforward.dev/routing/v1",
        "generation": 1,
        "rollout": {"namespace": "prod", "name": "gone", "uid": "u"},
        **named,
    }
    body = {"metadata": {"name": f"{name}-routing", "namespace": "prod"}, "data": {"routing.json": msgspec.json.encode(text).decode()}}
    world.cluster.put(CONFIG_MAP, body)


async def test_every_bundle_that_anybody_names_is_in_use() -> None:
    world = World()
    rollout(world, "a", stable="s3://models/fx/1/", candidate="s3://models/fx/2", previous="s3://models/fx/3/", waiting="s3://models/fx/4/")
    rollout(world, "b", pinned="s3://models/fx/5/", stable="s3://models/gold/1/")
    rollout(world, "c", namespace="other", stable="s3://models/fx/6/")
    routing(world, "server", stable="s3://models/fx/7/", previous="s3://models/fx/1/")
    world.apply(KEEPING, annotations=manual("a"))
    made = await document(world)
    assert made.in_use == tuple(f"s3://models/fx/{number}/" for number in range(1, 8))
    assert made.spec.artifacts.retention == Retention(keep_last=3)
    begun = world.status().run
    assert begun is not None
    assert made.in_use_at == begun.started_at, "marks that are younger do not count"
    job = made.run
    world.end(job, 0, world.publish(job))
    await world.settle()
    world.apply(KEEPING, annotations=manual("b"))
    latest = world.status().latest_bundle
    assert latest is not None
    assert latest.uri in (await document(world)).in_use, "whoever follows takes it up"


async def test_what_another_retrain_has_published_below_the_same_address_is_in_use() -> None:
    world = World()
    latest = {"version": "9", "uri": "s3://models/fx/9/", "digest": "sha256:1"}
    world.cluster.put(RETRAIN, {"metadata": {"name": "slow", "namespace": "other"}, "status": {"latestBundle": latest}})
    world.apply(KEEPING, annotations=manual("a"))
    assert (await document(world)).in_use == ("s3://models/fx/9/",)


@pytest.mark.parametrize("what", ["the watches", "a namespace", "a document"])
async def test_where_it_is_not_known_what_is_in_use_nothing_is_deleted(what: str) -> None:
    world = World()
    if what == "the watches":
        world.complete = False
    elif what == "a namespace":
        world.cluster.fault = lambda said: Forbidden(f"{said}: no") if said == "list ModelRollout other" else None
    else:
        world.cluster.put(CONFIG_MAP, {"metadata": {"name": "server-routing", "namespace": "prod"}, "data": {"routing.json": "{"}})
    world.apply(KEEPING, annotations=manual("a"))
    made = await document(world)
    assert made.spec.artifacts.retention is None
    assert made.in_use == ()
    event = next(event for event in world.events if event.reason == "RetentionSkipped")
    assert event.warning
    assert "so the run deletes none" in event.message


async def test_without_retention_nobody_is_asked() -> None:
    world = World()
    world.cluster.fault = lambda said: Forbidden("no") if said.startswith("list ModelRollout") else None
    world.apply(annotations=manual("a"))
    made = await document(world)
    assert (made.in_use, made.in_use_at) == ((), "")
    assert "RetentionSkipped" not in world.told


async def test_what_is_in_use_stays_as_it_was_when_the_run_began() -> None:
    """Else the ConfigMap of a run that was begun before a death would not be the one that is asked for after it."""
    calm = World()
    rollout(calm, "a", stable="s3://models/fx/1/")
    calm.apply(KEEPING, annotations=manual("a"))
    await calm.settle()
    for count in range(1, len(calm.cluster.writes) + 1):
        world = World()
        rollout(world, "a", stable="s3://models/fx/1/")
        world.apply(KEEPING, annotations=manual("a"))
        world.cluster.crash_after = len(world.cluster.writes) + count
        try:
            await world.settle()
        except Crash:
            world.restart()
        world.cluster.crash_after = None
        rollout(world, "a", stable="s3://models/fx/2/")
        made = await document(world)
        assert world.status().run is not None, world.status().message
        assert made.in_use in {("s3://models/fx/1/",), ("s3://models/fx/2/",)}
