"""The alias ``champion`` on a real MLflow server: found by the tags that a tracked run leaves, moved on promotion and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mlflow_server import api, mlflow_server

from walkforward_operator.champion import ALIAS, Champions, RegistryError
from walkforward_operator.cluster.kinds import RETRAIN, ROLLOUT
from walkforward_operator.cluster.store import Store
from walkforward_operator.mlflow import MlflowRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.rollout.model import Emit

# the first time, the server is installed
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
MODEL = "fx risk"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def register(address: str, version: str, digest: str) -> str:
    tags = [{"key": "walkforward.version", "value": version}, {"key": "walkforward.digest", "value": digest}]
    made = api(address, "model-versions/create", {"name": MODEL, "source": "s3://models/fx/model", "tags": tags})
    return str(made["model_version"]["version"])


class Told:
    def __init__(self) -> None:
        self.events: list[Emit] = []

    async def emit(self, about: Object, event: Emit) -> None:
        self.events.append(event)


def rollout(version: str, **status: Any) -> Object:
    return {
        "metadata": {"namespace": "prod", "name": "fx", "uid": "u"},
        "spec": {"source": {"retrainRef": {"name": "fx"}}},
        "status": {"stable": {"version": version, "digest": f"sha256:{version}"}, **status},
    }


async def test_the_alias_follows_what_is_live(server: str) -> None:
    api(server, "registered-models/create", {"name": MODEL})
    numbers = {version: register(server, version, f"sha256:{version}") for version in ("v1", "v2")}
    register(server, "v2", "sha256:another bundle of this name")
    store, told = Store(), Told()
    spec = {"tracking": {"experiment": "fx", "registeredModel": MODEL}}
    store.put(RETRAIN, {"metadata": {"namespace": "prod", "name": "fx", "uid": "r"}, "spec": spec})
    registry = MlflowRegistry(server, {})
    champions = Champions(store, registry, told, leading=lambda: True, clock=lambda: 0.0)  # type: ignore[arg-type]
    try:
        for version in ("v1", "v2", "v1"):
            store.put(ROLLOUT, rollout(version))
            await champions.look()
            found = api(server, "registered-models/alias", name=MODEL, alias=ALIAS)["model_version"]
            assert found["version"] == numbers[version]
        with pytest.raises(RegistryError, match="has no version of bundle v3"):
            await registry.version_of(MODEL, version="v3", digest="sha256:v3")
        with pytest.raises(RegistryError, match="answered 404"):
            await registry.set_alias("another", ALIAS, "1")
    finally:
        await registry.close()
    assert [event.reason for event in told.events] == ["ChampionMoved"] * 3
