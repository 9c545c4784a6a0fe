"""Retention and the registry: what goes, what never does, and that nobody ever sees half a bundle."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from trainer_runs import NOW, eurusd, run_document, spec
from trainer_versions import VERSION, by, manifest, put_bundle

from walkforward_core.api.retrain import Retention
from walkforward_core.api.rollout import BundleReference
from walkforward_core.bundle import MANIFEST, MODEL, GateRecord, Verdict
from walkforward_core.documents import digest
from walkforward_core.errors import Unavailable
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState
from walkforward_core.objectstore import FileStore, ObjectHead
from walkforward_core.runs import ResultDocument, RunDocument, RunVerdict
from walkforward_trainer.__main__ import main
from walkforward_trainer.conclude import conclude
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.expiring import GONE_MS, GRACE_MS
from walkforward_trainer.pipeline import execute
from walkforward_trainer.registry import Registry
from walkforward_trainer.retention import KEEP, Folder, expired, folders, leftover, protected, sweep

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
AS_OF_MS = round(AS_OF.timestamp() * 1000)
DAY = 86_400_000
LOOKED = datetime.fromtimestamp(NOW / 1000, UTC).isoformat()
"""When it was seen which bundles are in use."""


def version(days_old: int, name: str = "aaaaaaaa") -> str:
    return f"{AS_OF - timedelta(days=days_old):%Y%m%dT%H%M%SZ}-{name}"


def run(at: Path, *, last: int = 2, age: str = "90d", **changes: Any) -> RunDocument:
    fields = spec(eurusd(), at)
    fields["artifacts"]["retention"] = {"keepLast": last, "maxAge": age}
    return run_document(fields, "2024-06-01T00:00:00Z", **({"inUseAt": LOOKED} | changes))


def published(name: str = "") -> ResultDocument:
    return ResultDocument(run="fx-1a2b3c4d", verdict=RunVerdict.PUBLISHED, reason="Published", version=name)


def there(at: Path) -> set[str]:
    return {path.parent.name for path in at.glob("*/manifest.json")}


def aged(at: Path, before_ms: int = 2 * GRACE_MS) -> None:
    """Let every mark have been written that long before it was seen what is in use."""
    for path in at.glob(f"*/{EXPIRY}"):
        os.utime(path, (0, (NOW - before_ms) / 1000))


def swept(at: Path, document: RunDocument, result: ResultDocument, *, remove: bool = True, now_ms: int = NOW) -> str:
    """Sweep twice: by the run that marks, and by one that was told later what is in use; return what the second one says."""
    if remove:
        sweep(FileStore(), document, result, now_ms=now_ms, remove=True)
        aged(at)
    return sweep(FileStore(), document, result, now_ms=now_ms, remove=remove)


# -- the decision ---------------------------------------------------------------------------------------------------------------


def test_old_and_beyond_the_newest_few(tmp_path: Path) -> None:
    for days in (0, 10, 100, 200, 300):
        put_bundle(tmp_path, version(days))
    said = swept(tmp_path, run(tmp_path, last=3), published(version(0)))
    assert there(tmp_path) == {version(0), version(10), version(100)}
    assert said == f"retention removed old bundles {version(300)}, {version(200)}"
    assert swept(tmp_path, run(tmp_path, last=1), published(version(0))) == f"retention removed old bundles {version(100)}"
    assert there(tmp_path) == {version(0), version(10)}, "ten days are not ninety"
    assert not list(tmp_path.glob(f"{version(300)}/*"))


def test_by_default_nothing_ever_goes(tmp_path: Path) -> None:
    put_bundle(tmp_path, version(4_000))
    document = run_document(spec(eurusd(), tmp_path), "2024-06-01T00:00:00Z")
    assert swept(tmp_path, document, published()) == ""
    assert there(tmp_path) == {version(4_000)}


@pytest.mark.parametrize("spelling", ["{at}/{version}/", "{at}/{version}", "{version}", "s3://elsewhere/{version}/"])
def test_what_is_in_use_stays_in_every_spelling(tmp_path: Path, spelling: str) -> None:
    for days in (0, 200, 201, 202, 203, 204):
        put_bundle(tmp_path, version(days))
    named = [spelling.format(at=tmp_path.as_uri(), version=version(days)) for days in (201, 202)]
    (tmp_path / version(203) / "KEEP").write_text("the first one")
    document = run(tmp_path, last=1, inUse=[named[0]], baseline={"uri": named[1], "digest": "sha256:0"})
    Registry(FileStore(), tmp_path.as_uri()).promote_candidate(version(204), reason="a test")
    swept(tmp_path, document, published(version(0)))
    assert there(tmp_path) == {version(0), version(201), version(202), version(203), version(204)}


def test_without_a_readable_pointer_nothing_goes(tmp_path: Path) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    (tmp_path / "LATEST.json").write_bytes(b"half")
    assert "nothing was removed" in swept(tmp_path, run(tmp_path, last=1), published(version(0)))
    assert there(tmp_path) == {version(0), version(200)}


def test_other_things_below_the_address_are_left_alone(tmp_path: Path) -> None:
    put_bundle(tmp_path, version(0))
    strangers = [
        "2023/01/manifest.json",
        "20231301T000000Z-aaaaaaaa/manifest.json",
        "20230101T000000Z-mine/manifest.json",
        "runs/a/result.json",
    ]
    for name in strangers:
        FileStore().put(f"{tmp_path.as_uri()}/{name}", b"{}")
    assert swept(tmp_path, run(tmp_path, last=1), published(version(0)), now_ms=NOW + 100 * DAY) == ""
    assert all((tmp_path / name).exists() for name in strangers)


def test_a_replay_of_the_past_removes_nothing_newer(tmp_path: Path) -> None:
    for days in (-300, -200, 0):
        put_bundle(tmp_path, version(days))
    assert swept(tmp_path, run(tmp_path, last=1, age="1d"), published(version(0))) == ""


@pytest.mark.parametrize(("age_ms", "gone"), [(GONE_MS - 60_000, False), (GONE_MS + 60_000, True)])
def test_leftovers_go_after_a_day(tmp_path: Path, *, age_ms: int, gone: bool) -> None:
    put_bundle(tmp_path, version(0))
    for name in ("model.onnx", "report.html"):
        FileStore().put(f"{tmp_path.as_uri()}/{version(5)}/{name}", b"half")
        os.utime(tmp_path / version(5) / name, (0, (NOW - age_ms) / 1000))
    swept(tmp_path, run(tmp_path), published(version(0)))
    assert list((tmp_path / version(5)).iterdir()) == [] if gone else len(list((tmp_path / version(5)).iterdir())) == 2


MARKS = (frozenset({MANIFEST}), frozenset({MANIFEST, KEEP}), frozenset({MODEL}), frozenset({MODEL, KEEP}))
VERSIONS = st.lists(st.integers(-50, 400), min_size=1, max_size=12, unique=True)


@given(days=VERSIONS, data=st.data())
@settings(max_examples=150)
def test_whatever_the_history_nothing_protected_goes(days: list[int], data: st.DataObject) -> None:
    names = sorted(version(age) for age in days)
    marks = data.draw(st.lists(st.sampled_from(MARKS), min_size=len(names), max_size=len(names)))
    found = [Folder(name, f"s3://m/fx/{name}/", mark) for name, mark in zip(names, marks, strict=True)]
    keep = frozenset(data.draw(st.sets(st.sampled_from(names))))
    last, age = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 400))
    rule = Retention(keep_last=last, max_age=f"{age}d")
    gone = {folder.version for folder in expired(found, rule, keep=keep, as_of_ms=AS_OF_MS)}
    newest = [folder.version for folder in found if folder.whole][-last:]
    young = {folder.version for folder in found if folder.as_of_ms >= AS_OF_MS - age * DAY}
    kept = {folder.version for folder in found if folder.kept}
    assert not gone & (keep | kept | young | set(newest))
    assert gone | keep | kept | young | set(newest) >= {folder.version for folder in found if folder.whole}, "and all others go"
    # of what is being worked on nobody knows how old it is
    modified = {
        name: NOW - data.draw(st.integers(0, 3) | st.integers(DAY - 1, DAY + 1)) for name in data.draw(st.sets(st.sampled_from(names)))
    }
    debris = {folder.version for folder in leftover(found, modified, keep=keep, now_ms=NOW)}
    half = {folder.version for folder in found if MANIFEST not in folder.names and KEEP not in folder.names}
    assert debris == {name for name in half - keep if name in modified and NOW - modified[name] > DAY}


def test_folders_are_made_of_what_is_listed() -> None:
    uris = [f"s3://m/fx/{VERSION}/model.onnx", f"s3://m/fx/{VERSION}/manifest.json", "s3://m/fx/LATEST.json", f"s3://m/fx/runs/{VERSION}/x"]
    assert folders("s3://m/fx/", uris) == [Folder(VERSION, f"s3://m/fx/{VERSION}/", frozenset({"model.onnx", "manifest.json"}))]


# -- the deletion ---------------------------------------------------------------------------------------------------------------


class Dying(FileStore):
    """A store whose client is killed after a number of deletions; looks at every bundle after each of them."""

    def __init__(self, at: Path, left: int) -> None:
        self.at, self.left = at, left

    def delete(self, uri: str) -> None:
        if self.left == 0:
            raise Unavailable("killed")
        self.left -= 1
        super().delete(uri)
        for name in there(self.at):
            assert {path.name for path in (self.at / name).iterdir()} >= {"manifest.json", "model.onnx", "golden.json"}


@pytest.mark.parametrize("left", range(9))
def test_killed_after_any_deletion_no_half_bundle_looks_whole_and_the_next_run_clears_up(tmp_path: Path, left: int) -> None:
    for days in (0, 200, 300):
        put_bundle(tmp_path, version(days))
    document = run(tmp_path, last=1)
    sweep(FileStore(), document, published(version(0)), now_ms=NOW, remove=True)
    aged(tmp_path)
    if left < 8:
        with pytest.raises(Unavailable):
            sweep(Dying(tmp_path, left), document, published(version(0)), now_ms=NOW, remove=True)
    later = round(datetime.now(UTC).timestamp() * 1000) + 2 * DAY
    sweep(FileStore(), document, published(version(0)), now_ms=later, remove=True)
    assert there(tmp_path) == {version(0)}
    assert [path for path in tmp_path.glob("2*/*") if path.parent.name != version(0)] == []


def test_a_run_marks_and_a_later_one_removes(tmp_path: Path) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    document, last = run(tmp_path, last=1), published(version(0))
    said = f"retention marked for a later run to remove {version(200)}"
    assert sweep(FileStore(), document, last, now_ms=NOW, remove=True) == said
    for before_ms in (-60_000, 0, GRACE_MS - 60_000):
        aged(tmp_path, before_ms)
        assert sweep(FileStore(), document, last, now_ms=NOW + DAY, remove=True) == said, "the mark is too young"
    assert there(tmp_path) == {version(0), version(200)}
    aged(tmp_path, GRACE_MS + 60_000)
    assert sweep(FileStore(), document, last, now_ms=NOW, remove=True) == f"retention removed old bundles {version(200)}"


@pytest.mark.parametrize("why", ["in use", "kept", "active", "another rule"])
def test_a_marked_bundle_that_is_wanted_is_spared_and_later_needs_a_new_mark(tmp_path: Path, why: str) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    last, old = published(version(0)), version(200)
    sweep(FileStore(), run(tmp_path, last=1), last, now_ms=NOW, remove=True)
    aged(tmp_path)
    spared = run(tmp_path, last=2 if why == "another rule" else 1, inUse=[f"{tmp_path.as_uri()}/{old}/"] if why == "in use" else [])
    if why == "kept":
        assert main(["keep", old, "--artifacts", tmp_path.as_uri(), "--allow-file", "--reason", "the first one"]) == 0
    if why == "active":
        registry(tmp_path).promote_candidate(old, reason="a test")
    assert sweep(FileStore(), spared, last, now_ms=NOW, remove=True) == ""
    mark = Expiry.parse((tmp_path / old / EXPIRY).read_bytes())
    assert mark.state is ExpiryState.SPARED
    assert "expiring" not in next(entry.marks for entry in registry(tmp_path).versions() if entry.version == old)
    for name in (KEEP, "../ACTIVE.json"):
        (tmp_path / old / name).unlink(missing_ok=True)
    aged(tmp_path)
    assert sweep(FileStore(), run(tmp_path, last=1), last, now_ms=NOW, remove=True).startswith("retention marked")
    assert "expiring" in next(entry.marks for entry in registry(tmp_path).versions() if entry.version == old)


def test_what_is_being_removed_can_neither_be_kept_nor_promoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_bundle(tmp_path, version(200))
    FileStore().put(f"{tmp_path.as_uri()}/{version(200)}/{EXPIRY}", Expiry(state=ExpiryState.REMOVING, by="fx-9").to_bytes())
    now = Registry(FileStore(), tmp_path.as_uri())
    with pytest.raises(BadConfiguration, match="removes it at this moment"):
        now.promote_candidate(version(200), reason="a test")
    assert not (tmp_path / "ACTIVE.json").exists()
    assert main(["keep", version(200), "--artifacts", tmp_path.as_uri(), "--allow-file", "--reason", "late"]) == 78
    assert "removes it at this moment" in capsys.readouterr().err
    assert main(["keep", version(7), "--artifacts", tmp_path.as_uri(), "--allow-file", "--reason", "x"]) == 78


def test_of_two_that_change_a_mark_at_once_one_knows_that_it_has_lost(tmp_path: Path) -> None:
    """Whoever spares a bundle between another's look and its removal keeps it."""

    class Meanwhile(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            if if_match is not None and Expiry.parse(data).state is ExpiryState.REMOVING:
                registry(tmp_path).keep(version(200), reason="just in time")
            return super().put(uri, data, create_only=create_only, if_match=if_match)

    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    sweep(FileStore(), run(tmp_path, last=1), published(version(0)), now_ms=NOW, remove=True)
    aged(tmp_path)
    sweep(Meanwhile(), run(tmp_path, last=1), published(version(0)), now_ms=NOW, remove=True)
    assert there(tmp_path) == {version(0), version(200)}


def test_a_dry_run_only_says_what_would_go(tmp_path: Path) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    before = sorted(tmp_path.rglob("*"))
    assert swept(tmp_path, run(tmp_path, last=1), published(), remove=False) == f"retention would remove old bundles {version(200)}"
    assert sorted(tmp_path.rglob("*")) == before


class Bucket(FileStore):
    """A folder that is addressed as a bucket."""

    def __init__(self, at: Path) -> None:
        self.at = at.as_uri()

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        return super().get(uri.replace("s3://models", self.at), limit=limit)

    def list(self, prefix: str) -> list[str]:
        return [uri.replace(self.at, "s3://models") for uri in super().list(prefix.replace("s3://models", self.at))]

    def head(self, uri: str) -> ObjectHead:
        return super().head(uri.replace("s3://models", self.at))

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        return super().put(uri.replace("s3://models", self.at), data, create_only=create_only, if_match=if_match)

    def delete(self, uri: str) -> None:
        super().delete(uri.replace("s3://models", self.at))


@pytest.mark.parametrize("looked", ["", LOOKED])
def test_who_is_not_told_what_is_in_use_removes_nothing_that_others_share(tmp_path: Path, looked: str) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    FileStore().put(f"{tmp_path.as_uri()}/{version(200)}/{EXPIRY}", Expiry(state=ExpiryState.EXPIRING, by="fx-0").to_bytes())
    aged(tmp_path)
    document = run(tmp_path, last=1, trigger={"id": "command-line", "kind": "Manual"}, inUseAt=looked)
    artifacts = replace(document.spec.artifacts, uri="s3://models")
    document = replace(document, spec=replace(document.spec, artifacts=artifacts))
    said = sweep(Bucket(tmp_path), document, published(version(0)), now_ms=NOW, remove=True)
    assert (there(tmp_path) == {version(0)}) is bool(looked)
    assert said.startswith("retention removed" if looked else "retention would remove")


def test_a_store_that_forbids_deletion_does_not_fail_the_run(tmp_path: Path) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    FileStore().put(f"{tmp_path.as_uri()}/{version(200)}/{EXPIRY}", Expiry(state=ExpiryState.EXPIRING, by="fx-0").to_bytes())
    aged(tmp_path)
    result = conclude(run(tmp_path, last=1), Dying(tmp_path, 0), published(version(0)), (), now_ms=NOW, env={})
    assert (result.verdict, result.message) == (RunVerdict.PUBLISHED, "retention: killed")


def test_rejected_and_failed_runs_remove_nothing(tmp_path: Path) -> None:
    for days in (0, 200):
        put_bundle(tmp_path, version(days))
    for verdict in (RunVerdict.REJECTED, RunVerdict.FAILED, RunVerdict.INELIGIBLE, RunVerdict.CALIBRATED):
        conclude(run(tmp_path, last=1), FileStore(), replace(published(), verdict=verdict), (), now_ms=NOW, env={})
    assert there(tmp_path) == {version(0), version(200)}


def test_a_whole_run_clears_up_behind_itself(tmp_path: Path) -> None:
    old, used = "20160101T000000Z-aaaaaaaa", "20150101T000000Z-aaaaaaaa"
    for name in (old, used):
        put_bundle(tmp_path, name)
    fields = spec(eurusd(), tmp_path)
    fields["artifacts"]["retention"] = {"keepLast": 1, "maxAge": "90d"}
    document = run_document(fields, inUse=[f"{tmp_path.as_uri()}/{used}/"], inUseAt=LOOKED)
    FileStore().put(f"{tmp_path.as_uri()}/{old}/{EXPIRY}", Expiry(state=ExpiryState.EXPIRING, by="fx-0").to_bytes())
    aged(tmp_path)
    dry, _ = execute(replace(document, mode=type(document.mode).DRY_RUN), allow_file=True, now_ms=NOW)
    assert "retention" not in dry.message, "one of the two is in use, the other the newest so far"
    result, code = execute(document, allow_file=True, now_ms=NOW)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    assert there(tmp_path) == {result.version, used}
    assert result.message.endswith(f"retention removed old bundles {old}")
    assert json.loads((tmp_path / "runs" / "fx-1a2b3c4d" / "result.json").read_bytes())["message"] == result.message


def test_what_protects(tmp_path: Path) -> None:
    put_bundle(tmp_path, version(3))
    assert protected(FileStore(), run(tmp_path), version(1)) == {version(3), version(1)}


# -- the registry ---------------------------------------------------------------------------------------------------------------


def registry(at: Path) -> Registry:
    moments = iter(AS_OF + timedelta(minutes=minute) for minute in range(100))
    return Registry(FileStore(), at.as_uri(), now=lambda: next(moments))


def test_candidates_promotion_and_rollback(tmp_path: Path) -> None:
    for days, area in ((2, 0.64), (1, 0.66), (0, 0.65)):
        put_bundle(tmp_path, version(days), metrics={"auc": area})
    models = registry(tmp_path)
    assert {name: found["metrics"] for name, found in models.list_candidates().items()} == {
        version(0): {"auc": 0.65},
        version(1): {"auc": 0.66},
        version(2): {"auc": 0.64},
    }
    assert models.get_registry_summary()["active"] is None
    models.promote_candidate(version(1), reason="best AUC", by="ann")
    models.promote_candidate(version(0), reason="newest", by="ann")
    assert json.loads((tmp_path / "ACTIVE.json").read_bytes())["version"] == version(0)
    back = models.promote_candidate(version(1), reason="win rate fell to 28 %", by="bob")
    assert json.loads((tmp_path / "ACTIVE.json").read_bytes())["version"] == version(1)
    assert digest((tmp_path / version(1) / "manifest.json").read_bytes()) == back.digest
    assert list(models.list_candidates()) == [version(0), version(2)]
    summary = models.get_registry_summary()
    assert (summary["versions"], summary["candidates"], summary["active"], summary["latest"]) == (3, 2, version(1), version(0))
    assert [(made["version"], made["reason"], made["by"]) for made in summary["promotions"]] == [
        (version(1), "win rate fell to 28 %", "bob"),
        (version(0), "newest", "ann"),
        (version(1), "best AUC", "ann"),
    ]


def test_of_two_promotions_the_later_one_counts_whoever_writes_last(tmp_path: Path) -> None:
    for days in (1, 0):
        put_bundle(tmp_path, version(days))
    Registry(FileStore(), tmp_path.as_uri(), now=lambda: AS_OF).promote_candidate(version(1), reason="later")
    Registry(FileStore(), tmp_path.as_uri(), now=lambda: AS_OF - timedelta(1)).promote_candidate(
        version(0), reason="earlier, slow to write"
    )
    active = registry(tmp_path).active()
    assert active is not None
    assert active.version == version(1)


def test_a_promotion_needs_a_version_and_a_reason(tmp_path: Path) -> None:
    put_bundle(tmp_path, version(0))
    (tmp_path / version(1)).mkdir()
    (tmp_path / version(1) / "manifest.json").write_bytes(b"half")
    for name, reason, words in ((version(0), " ", "say why"), (version(2), "x", "no such version"), (version(1), "x", "starts with")):
        with pytest.raises(BadConfiguration, match=words):
            registry(tmp_path).promote_candidate(name, reason=reason)
    assert not (tmp_path / "ACTIVE.json").exists()


def test_a_kept_version_stays_for_ever(tmp_path: Path) -> None:
    for days in (0, 300):
        put_bundle(tmp_path, version(days))
    registry(tmp_path).keep(version(300), reason="v1 baseline")
    swept(tmp_path, run(tmp_path, last=1), published(version(0)))
    assert there(tmp_path) == {version(0), version(300)}
    with pytest.raises(BadConfiguration, match="no such version"):
        registry(tmp_path).keep(version(7), reason="x")


def test_the_list_has_what_a_rollout_is_pinned_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = (GateRecord(name="auc", value=0.5, threshold=0.62, verdict=Verdict.FAIL, forced=True),)
    put_bundle(tmp_path, version(2), retrain=by("fx-2"), gates=skipped, metrics={})
    put_bundle(tmp_path, version(1), retrain=by("fx-1"))
    (tmp_path / version(3)).mkdir()
    (tmp_path / version(3) / "manifest.json").write_bytes(b"half")
    assert main(["list", "--artifacts", tmp_path.as_uri(), "--allow-file"]) == 0
    head, newest, older, broken = capsys.readouterr().out.splitlines()
    assert head.split() == ["VERSION", "AS", "OF", "AUC", "VERDICT", "RUN", "URI", "DIGEST"]
    assert newest.split() == [
        version(1),
        manifest().data.as_of,
        "0.6600",
        "Published",
        "fx-1",
        "latest",
        f"{tmp_path.as_uri()}/{version(1)}/",
        digest((tmp_path / version(1) / "manifest.json").read_bytes()),
    ]
    assert "Published (auc skipped)" in older
    assert " - " in older
    assert "unreadable" in broken
    assert main(["list", "--artifacts", tmp_path.as_uri(), "--allow-file", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    pin = BundleReference(uri=found[0]["uri"], digest=found[0]["digest"])
    assert digest(FileStore().get(pin.uri + "manifest.json")) == pin.digest


def test_a_list_of_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--artifacts", tmp_path.as_uri()]) == 78
    assert "Forbidden: --artifacts: " in capsys.readouterr().err
    assert main(["list", "--artifacts", f"{tmp_path.as_uri()}/none", "--allow-file"]) == 0
