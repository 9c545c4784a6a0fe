"""A result that says AlreadyPublished: whose manifest may be called this run's."""

from __future__ import annotations

import msgspec
import pytest
from retrain_world import World
from retrains import GOOD, manifest, manual, result

from walkforward_core.runs import RunVerdict
from walkforward_operator.retrain.status import RetrainPhase


@pytest.mark.parametrize(
    ("reason", "changes", "words"),
    [
        ("AlreadyPublished", {}, ""),
        ("Published", {}, "has retrain ('prod', 'another life')"),
        ("AlreadyPublished", {"name": "other"}, "has retrain ('prod', 'other')"),
        ("AlreadyPublished", {"as_of": "2026-02-01T00:00:00Z"}, "has asOf"),
        ("AlreadyPublished", {"as_of": "yesterday"}, "has asOf"),
    ],
)
async def test_the_same_model_for_the_same_as_of_may_be_another_runs(reason: str, changes: dict[str, str], words: str) -> None:
    world = World()
    world.apply(annotations=manual("a"))
    await world.settle()
    [job] = world.active
    document = world.document(job)
    honest = manifest(document, GOOD)
    owner = msgspec.structs.replace(honest.retrain, run="fx-earlier", uid="another life", name=changes.get("name", "fx"))
    data = msgspec.structs.replace(honest.data, as_of=changes.get("as_of", document.as_of))
    made = msgspec.structs.replace(honest, retrain=owner, data=data)
    report = result(document, RunVerdict.PUBLISHED, bundle=made, reason=reason)
    world.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
    world.end(job, 0, report.to_bytes().decode())
    await world.settle()
    latest = world.status().latest_bundle
    if words:
        assert world.condition("Ready") == ("False", "BadResult")
        assert words in world.status().message
        assert latest is None
    else:
        assert world.status().phase is RetrainPhase.PUBLISHED
        assert latest is not None
        assert (latest.digest, latest.run) == (report.digest, job)
