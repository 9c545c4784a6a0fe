from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core import names, routing
from walkforward_core.durations import format_ms, parse_ms
from walkforward_core.routing import Abort, ModelRef, RolloutRef, RoutingDocument, bucket, salt_for


@given(st.integers(0, 99_999 * 86_400_000))
def test_durations_round_trip(ms: int) -> None:
    assert parse_ms(format_ms(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 90_000), ("30m", 1_800_000), ("1h30m", 5_400_000), ("14d", 1_209_600_000), ("80ms", 80), ("1d2h3m4s5ms", 93_784_005)],
)
def test_durations_as_people_write_them(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "30m1h", "5w", "1h1h", "٣m", "5m\n", "999999999s"])
def test_durations_of_any_other_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        parse_ms(text)


def test_names_in_the_cluster() -> None:
    assert names.routing_name("fx-server") == "fx-server-routing"
    assert names.evidence_name("fx-server", 3) == "fx-server-evidence-3"
    assert [names.action_annotation(verb) for verb in names.VERBS][:2] == ["walkforward.dev/approve", "walkforward.dev/promote"]


@pytest.mark.parametrize(("key", "expected"), [("EURUSD", 2951), ("client-1", 2293)])
def test_published_vectors_of_the_split(key: str, expected: int) -> None:
    assert bucket(key, "0" * 16) == expected


def test_the_split_in_other_words() -> None:
    import hashlib

    for key, salt in (("EURUSD", "0" * 16), ("ключ", "0123456789abcdef"), ("", "f" * 16)):
        raw = hashlib.blake2b(key.encode("utf-8"), key=salt.encode("ascii"), digest_size=8).digest()
        assert bucket(key, salt) == int.from_bytes(raw, "big") % 10_000


@given(st.text(max_size=20), st.text("0123456789abcdef", min_size=16, max_size=16))
def test_buckets_are_in_range_and_sticky_and_five_percent_stay_within_25(key: str, salt: str) -> None:
    place = bucket(key, salt)
    assert 0 <= place < 10_000
    assert bucket(key, salt) == place
    assert (place < 5 * 100) <= (place < 25 * 100)


def test_the_split_is_even_and_another_walk_draws_anew() -> None:
    salts = [salt_for("uid", "sha256:a"), salt_for("uid", "sha256:b")]
    chosen = [{number for number in range(20_000) if bucket(f"client-{number}", salt) < 500} for salt in salts]
    for one in chosen:
        assert 900 <= len(one) <= 1_100  # 5 % of 20,000: 1,000, standard deviation 31
    assert len(chosen[0] & chosen[1]) <= 100  # 50 by chance


def test_a_salt_is_of_the_rollout_and_the_candidate() -> None:
    import hashlib

    assert salt_for("uid", "sha256:a") == hashlib.sha256(b"uid/sha256:a").hexdigest()[:16]
    assert len({salt_for("uid", "sha256:a"), salt_for("uid2", "sha256:a"), salt_for("uid", "sha256:b"), routing.NO_SALT}) == 4


def model(version: str) -> ModelRef:
    return ModelRef(version=version, uri=f"s3://m/{version}/", digest=f"sha256:{version}", model=f"sha256:m{version}")


def test_roles_never_flip() -> None:
    rollout = RolloutRef(namespace="n", name="r", uid="u")
    walking = RoutingDocument(generation=1, rollout=rollout, stable=model("old"), candidate=model("new"), weight=25, shadow=True)
    watching = RoutingDocument(generation=2, rollout=rollout, stable=model("new"), previous=model("old"), shadow=True)
    for document in (walking, watching):
        assert document.on_trial == model("new")
        assert document.reference == model("old")
    settled = RoutingDocument(generation=3, rollout=rollout, stable=model("new"))
    assert settled.on_trial is None
    assert settled.reference == model("new")
    aborted = RoutingDocument(
        generation=4, rollout=rollout, stable=model("old"), abort=Abort(candidate="sha256:new", reason="Harm", at="t")
    )
    assert RoutingDocument.parse(aborted.to_bytes()).abort == aborted.abort
