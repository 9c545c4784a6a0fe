"""The push: after the write, to every pod that needs it, again where a pod does not follow."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.pods import Applied, PodReport
from walkforward_operator.rollout.model import Pod
from walkforward_operator.routing.push import Bumps

NEW = "sha256:new"


def pod(name: str = "a", *, pushed: str = "", applied: str = "", running: bool = True, terminating: bool = False) -> Pod:
    report = PodReport(pod_uid=name, boot="b", applied=Applied(generation=7, digest=applied)) if applied else None
    return Pod(name=name, uid=name, created_ms=0, running=running, ready=True, terminating=terminating, pushed=pushed, report=report)


def due(bumps: Bumps, *pods: Pod, now: float = 0.0) -> tuple[list[str], float | None]:
    pushes, again = bumps.due(pods, generation=7, digest=NEW, now=now)
    return [f"{push.pod.name}={push.value}" for push in pushes], again


def test_every_pod_with_another_value_is_pushed() -> None:
    pods = (pod("a"), pod("b", pushed="6"), pod("c", pushed="6.3"), pod("d", pushed="nonsense"), pod("e", pushed="7", applied=NEW))
    assert due(Bumps(), *pods) == (["a=7", "b=7", "c=7", "d=7"], 1.0)


def test_a_terminating_pod_is_left_alone() -> None:
    assert due(Bumps(), pod(terminating=True)) == ([], None)


def test_a_pod_that_is_about_to_start_is_pushed_but_not_bumped() -> None:
    assert due(Bumps(), pod(running=False)) == (["a=7"], 1.0)
    assert due(Bumps(), pod(running=False, pushed="7")) == ([], None)


def test_who_follows_is_left_alone() -> None:
    assert due(Bumps(), pod(pushed="7", applied=NEW)) == ([], None)
    assert due(Bumps(), pod(pushed="7.2", applied=NEW)) == ([], None)


def test_who_does_not_follow_is_bumped_after_a_second_then_less_and_less() -> None:
    bumps, now, times, value = Bumps(), 0.0, [], "7"
    pushes, _ = bumps.due([pod()], generation=7, digest=NEW, now=now)
    bumps.done(pushes[0], now=now)
    while len(times) < 9:
        pushes, again = bumps.due([pod(pushed=value, applied="sha256:old")], generation=7, digest=NEW, now=now)
        if pushes:
            times.append(now)
            value = pushes[0].value
            bumps.done(pushes[0], now=now)
        else:
            assert again is not None
            now += again
    assert value == "7.9"
    assert [round(later - earlier, 3) for earlier, later in zip([0.0, *times], times, strict=False)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_restarted_operator_waits_a_second_before_it_bumps() -> None:
    bumps = Bumps()
    late = pod(pushed="7", applied="sha256:old")
    assert due(bumps, late, now=100.0) == ([], 1.0)
    assert due(bumps, late, now=101.0) == (["a=7.1"], 1.0)


@given(
    st.lists(st.tuples(st.sampled_from(["", "6", "7", "7.1", "x"]), st.sampled_from(["", NEW, "sha256:old"]), st.booleans()), max_size=6)
)
def test_no_pod_is_ever_forgotten(pods: list[tuple[str, str, bool]]) -> None:
    bumps = Bumps()
    made = [pod(str(number), pushed=pushed, applied=applied, terminating=gone) for number, (pushed, applied, gone) in enumerate(pods)]
    now = 0.0
    for _ in range(5):
        pushes, again = bumps.due(made, generation=7, digest=NEW, now=now)
        values = {push.pod.name: push.value for push in pushes}
        for push in pushes:
            bumps.done(push, now=now)
        made = [replace(one, pushed=values.get(one.name, one.pushed)) for one in made]
        now += again or 0.0
    for one in made:
        follows = one.report is not None and one.report.applied is not None and one.report.applied.digest == NEW
        assert one.terminating or follows or one.pushed.startswith("7")
