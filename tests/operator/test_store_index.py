"""Selecting by an indexed label gives what looking at every object would."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.names import RETRAIN_LABEL, TARGET_LABEL
from walkforward_operator.cluster.kinds import JOB, POD, ROLLOUT, Kind
from walkforward_operator.cluster.store import Store

LABELS = st.dictionaries(st.sampled_from([RETRAIN_LABEL, TARGET_LABEL, "x"]), st.sampled_from(["a", "b"]))
STEPS = st.tuples(
    st.sampled_from([JOB, POD, ROLLOUT]), st.sampled_from(["n1", "n2", "n3"]), st.sampled_from(["u1", "u2"]), LABELS, st.booleans()
)


@settings(max_examples=150)
@given(steps=st.lists(STEPS, max_size=25), wanted=LABELS)
def test_the_index_is_never_wrong(steps: list[tuple[Kind, str, str, dict[str, str], bool]], wanted: dict[str, str]) -> None:
    store = Store()
    for version, (kind, name, uid, labels, gone) in enumerate(steps):
        body = {
            "metadata": {
                "namespace": "prod",
                "name": name,
                "uid": f"{uid}-{version // 5}",
                "resourceVersion": str(version),
                "labels": labels,
            },
            # of a rollout: what it follows, if it follows anything
            "spec": {"source": {"retrainRef": {"name": labels["x"]}} if "x" in labels else {"bundle": {}}},
        }
        if gone:
            store.drop(kind, body)
        else:
            store.put(kind, body)
    for name in ("a", "b"):
        followers = [item for item in store.all(ROLLOUT) if item["spec"]["source"].get("retrainRef") == {"name": name}]
        assert sorted(map(str, store.followers("prod", name))) == sorted(map(str, followers))
    for kind in (JOB, POD, ROLLOUT):
        everything = [item for item in store.all(kind) if wanted.items() <= item["metadata"]["labels"].items()]
        found = asyncio.run(store.list(kind, "prod", labels=wanted))
        assert sorted(item["metadata"]["name"] for item in found) == sorted(item["metadata"]["name"] for item in everything)


def test_the_names_of_members_are_kept_once() -> None:
    store, text = Store(), '{"metadata": {"name": "%s", "uid": "%s"}, "spec": {"source": {"bundle": {}}}, "list": [{"weight": 5}]}'
    for name in ("one", "two"):
        store.put(ROLLOUT, json.loads(text % (name, name)))
    one, two = store.all(ROLLOUT)
    assert one["list"] == [{"weight": 5}]
    for path in ("list", "spec"):
        assert next(key for key in one if key == path) is next(key for key in two if key == path)
    assert next(iter(one["list"][0])) is next(iter(two["list"][0]))
