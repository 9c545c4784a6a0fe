"""The alias in MLflow follows what is live, and nothing waits for it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from walkforward_operator.champion import RETRY_S, Champions, RegistryError, wanted
from walkforward_operator.cluster.kinds import RETRAIN, ROLLOUT
from walkforward_operator.cluster.store import Store
from walkforward_operator.mlflow import MlflowRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.rollout.model import Emit


def retrain(name: str = "fx", *, registered: str | None = "fx-risk", baseline: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"tracking": {"experiment": "e", **({"registeredModel": registered} if registered else {})}}
    return {
        "metadata": {"namespace": "prod", "name": name, "uid": f"r-{name}"},
        "spec": spec | ({"baselineFrom": baseline} if baseline else {}),
    }


def rollout(version: str, name: str = "fx", *, follows: str = "fx", **status: Any) -> dict[str, Any]:
    stable = {"version": version, "digest": f"sha256:{version}", "uri": f"s3://models/{version}/"}
    return {
        "apiVersion": "walkforward.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"namespace": "prod", "name": name, "uid": f"u-{name}"},
        "spec": {"source": {"retrainRef": {"name": follows}}},
        "status": {"stable": stable, **status},
    }


def models(rollouts: list[dict[str, Any]], retrains: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {uid: (wish.model, wish.version) for uid, wish in wanted(rollouts, retrains).items()}


def test_what_is_live_and_at_rest_is_wanted() -> None:
    assert models([rollout("v1")], [retrain()]) == {"u-fx": ("fx-risk", "v1")}
    assert models([rollout("v1", walk={"step": 1})], [retrain()]) == {}, "in its watch it may yet be taken back"
    assert models([rollout("v1", routing={"pending": {"generation": 3}})], [retrain()]) == {}
    assert models([rollout("v1")], [retrain(registered=None)]) == {}
    assert models([rollout("v1", follows="other")], [retrain()]) == {}
    bare = rollout("v1")
    del bare["status"]
    assert models([bare], [retrain()]) == {}
    pinned = rollout("v1")
    pinned["spec"]["source"] = {"bundle": {"uri": "s3://models/v1/"}}
    assert models([pinned], [retrain()]) == {}


def test_of_two_rollouts_the_one_that_is_named_speaks() -> None:
    both = [rollout("v1", "a"), rollout("v2", "b")]
    assert models(both, [retrain()]) == {}
    assert models(both, [retrain(baseline="b")]) == {"u-b": ("fx-risk", "v2")}


class Fake:
    """A registry in memory, with faults."""

    def __init__(self) -> None:
        self.aliases: list[tuple[str, str, str]] = []
        self.calls = 0
        self.away = ""

    async def version_of(self, model: str, *, version: str, digest: str) -> str:
        self.calls += 1
        if self.away:
            raise RegistryError(self.away)
        return version.removeprefix("v")

    async def set_alias(self, model: str, alias: str, number: str) -> None:
        self.aliases.append((model, alias, number))


class Told:
    def __init__(self) -> None:
        self.events: list[Emit] = []

    async def emit(self, about: Object, event: Emit) -> None:
        assert about["kind"] == "ModelRollout"
        self.events.append(event)


class Scene:
    def __init__(self) -> None:
        self.store, self.registry, self.told, self.now = Store(), Fake(), Told(), 0.0
        self.store.put(RETRAIN, retrain())
        self.champions = Champions(
            self.store,
            self.registry,
            self.told,  # type: ignore[arg-type]
            leading=lambda: True,
            clock=lambda: self.now,
        )

    async def live(self, version: str, **status: Any) -> None:
        self.store.put(ROLLOUT, rollout(version, **status))
        await self.champions.look()


async def test_the_alias_moves_once_for_each_promotion_and_back_after_a_rollback() -> None:
    scene = Scene()
    await scene.live("v1")
    await scene.live("v1")
    await scene.live("v2", walk={"step": 1})
    await scene.live("v2")
    await scene.live("v1")
    assert [number for _, _, number in scene.registry.aliases] == ["1", "2", "1"]
    assert {(model, alias) for model, alias, _ in scene.registry.aliases} == {("fx-risk", "champion")}
    assert [event.reason for event in scene.told.events] == ["ChampionMoved"] * 3
    assert scene.registry.calls == 3


async def test_a_server_that_is_away_is_told_once_and_asked_less_and_less_often() -> None:
    scene = Scene()
    scene.registry.away = "connection refused"
    for _ in range(41):
        await scene.live("v1")
        scene.now += 10
    assert scene.registry.calls == 5, "after 0, 10, 40, 100 and 400 seconds"
    [event] = scene.told.events
    assert (event.reason, event.warning) == ("ChampionNotMoved", True)
    assert "connection refused" in event.message
    scene.registry.away = ""
    scene.now += RETRY_S[-1]
    await scene.live("v1")
    assert scene.registry.aliases == [("fx-risk", "champion", "1")]
    assert scene.told.events[-1].reason == "ChampionMoved"


async def test_a_rollout_that_is_gone_is_forgotten() -> None:
    scene = Scene()
    await scene.live("v1")
    scene.store.drop(ROLLOUT, rollout("v1"))
    await scene.champions.look()
    assert scene.champions._tries == {}


# -- the calls ---------------------------------------------------------------------------------------------------------------


class Server:
    """What an MLflow server answers, by HTTP."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answers: list[tuple[int, bytes]] = []
        self.address = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        status, body = self.answers.pop(0)
        headers = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
        return web.Response(status=status, body=body, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    found.address = f"http://{host}:{port}/mlflow/"
    yield found
    await runner.cleanup()


def page(*versions: tuple[str, str, str], token: str = "") -> tuple[int, bytes]:
    listed = [
        {"version": number, "tags": [{"key": "walkforward.version", "value": version}, {"key": "walkforward.digest", "value": digest}]}
        for number, version, digest in versions
    ]
    return 200, json.dumps({"model_versions": listed, "next_page_token": token, "unknown": 1}).encode()


async def test_the_version_with_both_tags_is_found_on_any_page(server: Server) -> None:
    server.answers = [page(("9", "v2", "sha256:other"), token="t 1"), page(("3", "v2", "sha256:2")), (200, b"{}")]
    async with registry_at(server.address, MLFLOW_TRACKING_USERNAME="ann", MLFLOW_TRACKING_PASSWORD="secret") as registry:
        assert await registry.version_of("fx risk", version="v2", digest="sha256:2") == "3"
        await registry.set_alias("fx risk", "champion", "3")
    paths = [path for _, path, _ in server.requests]
    assert paths[0].startswith("/mlflow/api/2.0/mlflow/model-versions/search?filter=name")
    assert "page_token=t+1" in paths[1] or "page_token=t%201" in paths[1]
    assert (server.requests[2][0], paths[2]) == ("POST", "/mlflow/api/2.0/mlflow/registered-models/alias")
    assert {headers["Authorization"] for _, _, headers in server.requests} == {"Basic YW5uOnNlY3JldA=="}


@asynccontextmanager
async def registry_at(address: str, **env: str) -> AsyncIterator[MlflowRegistry]:
    found = MlflowRegistry(address, env)
    try:
        yield found
    finally:
        await found.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(), "has no version of bundle v2; was its run tracked?"),
        ((500, b"oops"), "answered 500: oops"),
        ((302, b""), "answered 302"),
        ((200, b"<html>"), "is it an MLflow server?"),
        ((200, b" " * (5 * 1024 * 1024)), "answered 200"),
    ],
)
async def test_an_answer_that_is_none_says_what_came(server: Server, answer: tuple[int, bytes], words: str) -> None:
    server.answers = [answer]
    async with registry_at(server.address, MLFLOW_TRACKING_TOKEN="t0ken") as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.version_of("fx", version="v2", digest="sha256:2")
    assert words in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert server.requests[0][2]["Authorization"] == "Bearer t0ken"
    assert len(server.requests) == 1, "an answer that leads elsewhere is not followed with our credentials"


async def test_a_server_that_is_not_there_says_where_to_look() -> None:
    async with registry_at("http://127.0.0.1:9") as registry:
        with pytest.raises(RegistryError, match="look at the server and at the value mlflowUri"):
            await registry.set_alias("fx", "champion", "1")
