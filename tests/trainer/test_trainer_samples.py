"""Logged samples: lines that are no records, gaps that stay gaps, features recomputed from what was logged raw."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import MINUTE, write_samples
from trainer_runs import NOW, run_document, spec

from walkforward_core.features import DRIFT_ROBUST_7, Samples
from walkforward_trainer.data.samples import parse_samples, read_samples
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadData, Reason, RunError
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import Prepared, prepare
from walkforward_trainer.sample_rows import compare_derived, mid_direction
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stretches import positions, stretches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 3_200
LAST = planted.START + ROWS * MINUTE


def rows_of(path: Path, as_of_ms: int = LAST, *, most: int = 0, **data: Any) -> Prepared:
    fields = spec(path, path.parent / "models", recipe="drift-robust", overrides={})
    fields["data"] |= {"format": "jsonl", "symbols": ["BTCUSDT"], "timeframe": "1m", "windowBars": 5_000} | data
    run = run_document(fields, timestamp(as_of_ms))
    plan = make_plan(run)
    return prepare(run, replace(plan, max_rows=most or plan.max_rows), Access(allow_file=True), now_ms=NOW)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_samples(tmp_path_factory.mktemp("s") / "s.jsonl", 1, ROWS).read_text(encoding="utf-8").splitlines()


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def changed(line: str, **raw: Any) -> str:
    record = json.loads(line)
    record["ts"] = raw.pop("ts", record["ts"])
    record["raw"] |= raw
    return json.dumps(record)


def mid_of(line: str) -> float:
    return float(json.loads(line)["raw"]["mid"])


def still(lines: list[str], first: int, end: int) -> list[str]:
    """Return the lines from ``first`` on, with their times, as a logger writes them whose feed has stopped."""
    return [changed(lines[first - 1], ts=json.loads(line)["ts"]) for line in lines[first:end]]


def test_samples_become_rows_from_their_warm_up_on(tmp_path: Path, text: list[str]) -> None:
    found = rows_of(write(tmp_path / "s.jsonl", text))
    rows = found.rows
    assert rows.names == DRIFT_ROBUST_7
    assert np.isfinite(rows.x).all()
    assert rows.t0[-1] == LAST
    assert len(rows) == ROWS - 1_439
    assert found.facts.completeness == 1.0
    # the mid five samples later, higher or not
    mid = np.array([json.loads(line)["raw"]["mid"] for line in text[1:]])
    np.testing.assert_array_equal(rows.y[:-5], (mid[1_439 + 5 :] > mid[1_439:-5]).astype(float))
    assert np.isnan(rows.y[-5:]).all()
    np.testing.assert_allclose(rows.returns[:-5], mid[1_439 + 5 :] / mid[1_439:-5] - 1.0)
    assert (rows.t1 - rows.t0 == 5 * MINUTE).all()
    assert rows.horizon_ms == 5 * MINUTE


def test_the_packed_log_and_the_log_in_parts_are_the_same(tmp_path: Path, text: list[str]) -> None:
    whole = rows_of(write(tmp_path / "s.jsonl", text)).rows
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "2.jsonl", [text[0], *text[2_000:]])
    (folder / "1.jsonl.gz").write_bytes(gzip.compress(("\n".join(text[:2_000]) + "\n").encode()))
    assert rows_of(folder).rows.digest == whole.digest


def test_nothing_after_as_of_is_read(tmp_path: Path, text: list[str]) -> None:
    as_of = LAST - 400 * MINUTE
    whole = rows_of(write(tmp_path / "s.jsonl", text), as_of).rows
    early = rows_of(write(tmp_path / "e.jsonl", text[:-400]), as_of).rows
    assert whole.digest == early.digest
    np.testing.assert_array_equal(whole.x, early.x)
    np.testing.assert_array_equal(whole.y, early.y)


def test_of_a_long_log_whole_stretches_are_left_out(tmp_path: Path, text: list[str]) -> None:
    path = write(tmp_path / "s.jsonl", text)
    every = rows_of(path).rows
    found = rows_of(path, most=1_200)
    some, at = found.rows, positions(stretches(0, len(every), 1_200))
    assert (len(some), some.left_out, some.stretch) == (1_200, len(every) - 1_200, 60)
    assert (every.left_out, every.stretch) == (0, 0)
    for name in ("x", "y", "t0", "t1", "returns", "base", "weight", "symbol"):
        assert getattr(some, name).tobytes() == getattr(every, name)[at].tobytes(), name
    assert some.columns.matrix(("bias", "rsi14_z")).tobytes() == every.columns.matrix(("bias", "rsi14_z"))[at].tobytes()
    # what is counted is the log, not what of it is used
    assert found.facts.bars == len(every)
    assert some.digest != every.digest


class TestLines:
    """What a line may be."""

    def test_the_line_that_is_just_being_written_is_not_yet_one(self, text: list[str]) -> None:
        data = "\n".join([*text[:10], text[10][:30]]).encode()
        records, broken, first = parse_samples(data, "x")
        assert (len(records), broken, first) == (9, 0, "")

    def test_broken_lines_are_counted_and_the_first_is_named(self, text: list[str]) -> None:
        lines = [*text[:5], "{", "", text[5], text[6].replace("mid", "mid\\"), '{"raw": {}}', "# remark", text[7]]
        records, broken, first = parse_samples("\n".join([*lines, ""]).encode(), "x.jsonl")
        assert (len(records), broken) == (6, 3)
        assert first.startswith("line 6 of x.jsonl (")

    def test_few_broken_lines_pass_and_many_do_not(self, tmp_path: Path, text: list[str]) -> None:
        few = [line if index % 1_000 or not index else "{" for index, line in enumerate(text)]
        assert len(rows_of(write(tmp_path / "few.jsonl", few)).rows) > 1_000
        many = [line if index % 100 or not index else "{" for index, line in enumerate(text)]
        with pytest.raises(BadData, match=r"maxNan: 32 lines, 1\.00%, are no records, limit 0\.50%; the first is line 101 of") as caught:
            rows_of(write(tmp_path / "many.jsonl", many))
        assert caught.value.reason is Reason.BROKEN_RECORDS

    def test_another_interval_is_refused(self, tmp_path: Path, text: list[str]) -> None:
        header = text[0].replace(str(MINUTE), "1000")
        with pytest.raises(BadData, match=r"line 1: sample_interval_ms is 1000; .* log every 60000 ms") as caught:
            rows_of(write(tmp_path / "s.jsonl", [header, *text[1:]]))
        assert caught.value.reason is Reason.TIMEFRAME_MISMATCH

    def test_a_logger_that_began_anew_writes_another_header(self, tmp_path: Path, text: list[str]) -> None:
        rows = rows_of(write(tmp_path / "s.jsonl", [*text[:100], text[0], *text[100:]])).rows
        assert len(rows) == ROWS - 1_439


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 50)), max_size=12))
def test_whatever_stands_in_a_line_is_a_record_or_is_counted(parts: list[bytes | int]) -> None:
    good = b'{"ts": %d, "raw": {"mid": 1.0, "spreadBp": null}}'
    lines = [good % (part * MINUTE) if isinstance(part, int) else part for part in parts]
    records, broken, _ = parse_samples(b"\n".join([*lines, b""]), "x")
    assert len(records) >= sum(isinstance(part, int) for part in parts)
    # a part of random bytes may hold line breaks of its own
    assert broken <= sum(part.count(b"\n") + 1 for part in parts if isinstance(part, bytes))


class TestGaps:
    """A gap is left out, and never bridged."""

    def test_a_short_gap_leaves_out_the_rows_that_look_into_it(self, tmp_path: Path, text: list[str]) -> None:
        lines = [line for index, line in enumerate(text) if not 2_500 <= index < 2_503]
        found = rows_of(write(tmp_path / "s.jsonl", lines))
        missing = {planted.START + minute * MINUTE for minute in (2_500, 2_501, 2_502)}
        times = set(found.rows.t0.tolist())
        # no sample one or five minutes before
        without = {time + lag * MINUTE for time in missing for lag in (0, 1, 5)}
        assert times.isdisjoint(without)
        assert len(times) == ROWS - 1_439 - len(without)
        assert found.facts.max_gap_ms == 4 * MINUTE
        # and no sample five minutes later, no answer
        unknown = found.rows.t0[~found.rows.known]
        assert {time - 5 * MINUTE for time in missing} <= set(unknown.tolist())
        assert len(unknown) == 5 + 3

    def test_a_value_that_misses_is_as_a_sample_that_misses(self, tmp_path: Path, text: list[str]) -> None:
        lines = [line if index != 2_500 else changed(line, vol1m=None) for index, line in enumerate(text)]
        found = rows_of(write(tmp_path / "s.jsonl", lines))
        assert found.facts.dropped == 1 + 2
        assert found.facts.nan_share["vol1m"] == pytest.approx(1 / ROWS)

    @pytest.mark.parametrize(
        ("edit", "reason", "words"),
        [
            (lambda t: t[:2_500] + t[2_506:], Reason.GAP, r"7m without a sample before .*, limit 5m; .* data\.window begin later"),
            (lambda t: [x for i, x in enumerate(t) if i % 100 or not i], Reason.INCOMPLETE, r"minCompleteness: .*, 99\.03%, limit 99\.50%"),
            (
                lambda t: [x if i % 100 or not i else changed(x, mid=None) for i, x in enumerate(t)],
                Reason.MISSING_VALUES,
                r"mid misses in 1\.00%",
            ),
            (lambda t: [*t[:50], t[51], t[50], *t[52:]], Reason.OUT_OF_ORDER, "1 samples are older than the one before them"),
            (lambda t: [*t[:50], t[49], *t[50:]], Reason.DUPLICATE_ROWS, "1 samples occur twice"),
            (lambda t: [*t[:50], changed(t[50], mid=0.0), *t[51:]], Reason.IMPOSSIBLE_PRICES, "in 1 samples mid is not above zero"),
            (lambda t: [*t[:50], changed(t[50], mid=100.0 * mid_of(t[50])), *t[51:]], Reason.JUMP, r"factor of \d\d.*\(mid .*in 2 places"),
            (lambda t: [*t[:2_000], *still(t, 2_000, 2_400), *t[2_400:]], Reason.FLAT, r"maxFlat: 12\.5% of the samples only repeat"),
            (
                lambda t: [*t[:-90], *still(t, len(t) - 90, len(t))],
                Reason.STALE,
                r"maxStaleness: the newest sample that is not the one before",
            ),
            (lambda t: [*t[:50], changed(t[50], rsi14=101), *t[51:]], Reason.IMPOSSIBLE_PRICES, "rsi14 is not between 0 and 100"),
            (lambda t: t[:-90], Reason.STALE, r"maxStaleness: .* limit 1h before asOf"),
            (lambda t: t[:1_200], Reason.STALE, "maxStaleness"),
            (lambda t: [*t[:-1], changed(t[-1], ts=NOW + 10 * planted.DAY)], Reason.FUTURE_BARS, "samples lie in the future"),
            (
                lambda _: ["nothing of the kind"],
                Reason.EMPTY_WINDOW,
                "no samples before asOf .* 1 lines are no records, the first is line 1",
            ),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: list[str], edit: Callable[[list[str]], list[str]], reason: Reason, words: str) -> None:
        with pytest.raises(RunError, match=words) as caught:
            rows_of(write(tmp_path / "s.jsonl", edit(text)))
        assert caught.value.reason is reason

    def test_a_day_is_not_enough_for_the_features_of_a_day(self, tmp_path: Path, text: list[str]) -> None:
        with pytest.raises(BadData, match="no sample has every feature, the longest looks back 1439 minutes") as caught:
            rows_of(write(tmp_path / "s.jsonl", text[:1_400]), planted.START + 1_400 * MINUTE)
        assert caught.value.reason is Reason.TOO_FEW_ROWS


def test_an_answer_is_by_time_and_not_by_row() -> None:
    time = planted.START + np.array([0, 1, 2, 3, 4, 5, 10, 11]) * MINUTE + np.array([0, 200, -300, 0, 100, 900, 0, 0])
    mid = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    flat = np.ones(8)
    y, t1, returns = mid_direction(Samples(time=time, mid=mid, spread_bp=flat, vol1m=flat, rsi14=flat), 5)
    np.testing.assert_array_equal(y, [1, np.nan, np.nan, np.nan, np.nan, 1, np.nan, np.nan])
    assert t1[0] == time[5]
    assert t1[5] == time[6]
    assert returns[0] == 5.0


def test_logged_features_are_compared_and_never_used(tmp_path: Path, text: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The logger's five-minute return is one over a minute, a known fault: the recomputed one is learned from."""
    mid = [json.loads(line)["raw"]["mid"] for line in text[1:]]
    lines = [text[0]]
    for index, line in enumerate(text[1:]):
        record = json.loads(line)
        last = float(np.log(mid[index] / mid[max(index - 1, 0)]))
        record["derived"] = {"mid_logret_1m": last, "mid_logret_5m": last, "spread_bp": record["raw"]["spreadBp"], "of_their_own": 1}
        lines.append(json.dumps(record))
    path = write(tmp_path / "s.jsonl", lines)
    with caplog.at_level(logging.INFO):
        rows = rows_of(path).rows
    assert rows.digest == rows_of(write(tmp_path / "plain.jsonl", text)).rows.digest
    assert "logged mid_logret_5m differs from the one recomputed by at most" in caplog.text
    fields = spec(path, tmp_path / "m", recipe="drift-robust", overrides={})
    fields["data"] |= {"format": "jsonl", "symbols": ["B"], "timeframe": "1m"}
    raw = read_samples(Access(allow_file=True), make_plan(run_document(fields, timestamp(LAST))), now_ms=NOW)
    found = compare_derived(raw)
    assert set(found) == {"mid_logret_1m", "mid_logret_5m", "spread_bp"}
    assert found["mid_logret_1m"] < 1e-8
    assert found["spread_bp"] < 1e-6
    assert found["mid_logret_5m"] > 1e-4


def test_the_live_model_may_read_other_features_of_the_same_samples(tmp_path: Path, text: list[str]) -> None:
    rows = rows_of(write(tmp_path / "s.jsonl", text)).rows
    assert rows.columns.missing(DRIFT_ROBUST_7[::-1]) == ""
    assert "not_there" in rows.columns.missing(["not_there"])
    np.testing.assert_array_equal(rows.columns.matrix(DRIFT_ROBUST_7[::-1]), rows.x[:, ::-1])
    # winsorised by the day before: of the first row there is none
    assert "spread_bp_w" in rows.columns.missing(["bias", "spread_bp_w"])
