"""One cluster for all scenarios: set up by the process that was started, before its workers, and taken down after them.

Scenarios hold a shared lock; one marked ``alone`` waits for the others to end and holds it exclusively, because it takes the API server or
the object store away. ``--keep-cluster`` leaves the cluster up: the next run begins in seconds.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from e2e_kube import PATIENCE
from e2e_scene import Scene
from e2e_stage import CLUSTER, WORK, Stage, set_up

from walkforward_cluster import open_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from kube import Kube

    MakeScene = Callable[[str], Scene]

KEPT = pytest.StashKey[bool]()
FAILED = pytest.StashKey[bool]()
LATENCIES = "abort-latency"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-cluster", action="store_true", help="leave the cluster of the end-to-end tests up")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    for old in (WORK / LATENCIES).glob("*.json"):
        old.unlink()
    set_up()
    session.config.stash[KEPT] = session.config.option.keep_cluster


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    kept = session.config.stash.get(KEPT, None)
    if kept is None:
        return
    found = [json.loads(file.read_text()) for file in sorted((WORK / LATENCIES).glob("*.json"))]
    (WORK / f"{LATENCIES}.json").write_text(json.dumps(found, indent=1) + "\n")
    if not kept:
        open_cluster(CLUSTER).down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # the long ones first, those that need the cluster for themselves last
    items.sort(key=lambda item: (item.get_closest_marker("alone") is not None, -_length(item)))
    for item in items:
        # the setup of a scenario is a wait for its turn
        item.add_marker(pytest.mark.timeout(_length(item) * PATIENCE, func_only=True), append=False)


def _length(item: pytest.Item) -> int:
    marker = item.get_closest_marker("timeout")
    return int(marker.args[0]) if marker is not None else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@contextmanager
def _lock(*, alone: bool) -> Iterator[None]:
    with (WORK / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def stage() -> Stage:
    return msgspec.json.decode((WORK / "stage.json").read_bytes(), type=Stage)


@pytest.fixture(scope="session")
def kube(stage: Stage) -> Iterator[Kube]:
    """The API with all rights."""
    admin = stage.kube()
    yield admin
    admin.client.close()


@pytest.fixture
def scene_of(request: pytest.FixtureRequest, stage: Stage, kube: Kube) -> Iterator[MakeScene]:
    """Open the scene of a scenario; what there is to see of it is kept when the test fails."""
    scenes: list[Scene] = []

    def open_scene(scenario: str) -> Scene:
        scenes.append(Scene(stage, kube, scenario))
        return scenes[-1]

    with _lock(alone=request.node.get_closest_marker("alone") is not None):
        yield open_scene
        for scene in scenes:
            if request.node.stash.get(FAILED, True):
                scene.keep_evidence()
            scene.close()


@pytest.fixture
def note_latency() -> Callable[..., None]:
    """Keep a measured way back for docs/benchmarks.md."""

    def note(scenario: str, **facts: Any) -> None:
        folder = WORK / LATENCIES
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{scenario}.json").write_text(json.dumps({"scenario": scenario, **facts}))

    return note
