"""Closed trades: features frozen at the decision, a past that does not change, and a bootstrap that is no error."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import planted
import polars as pl
import pytest
from planted import DAY, HOUR, write_trades
from trainer_runs import NOW, run_document, spec

from walkforward_core.api.data import DataFormat
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ExitCode, ResultDocument, RunDocument, RunVerdict
from walkforward_trainer.data.history import History, first_change, keep, row_digests
from walkforward_trainer.data.sources import Access, Source
from walkforward_trainer.data.trades import Trades, bad_trade, read_trades
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import Prepared, prepare
from walkforward_trainer.resolved import Target
from walkforward_trainer.shards import get_shards, pool
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path

START = planted.START
END = START + 20 * DAY


def fields(log: Path, artifacts: Path, **changes: Any) -> dict[str, Any]:
    data = {"uri": log.as_uri(), "format": "jsonl", "symbols": ["*"], "windowBars": 5_000} | changes.pop("data", {})
    return spec(log, artifacts, recipe="risk-filter", overrides={}) | {"data": data} | changes


def document(log: Path, artifacts: Path, as_of_ms: int = END, **changes: Any) -> RunDocument:
    extra = {name: changes.pop(name) for name in ("mode", "force") if name in changes}
    return run_document(fields(log, artifacts, **changes), timestamp(as_of_ms), **extra)


def rows_of(log: Path, artifacts: Path, as_of_ms: int = END, **changes: Any) -> Prepared:
    run = document(log, artifacts, as_of_ms, **changes)
    return prepare(run, make_plan(run), Access(allow_file=True), now_ms=NOW)


def result_of(log: Path, artifacts: Path, as_of_ms: int = END, **changes: Any) -> ResultDocument:
    return execute(document(log, artifacts, as_of_ms, **changes), allow_file=True, now_ms=NOW)[0]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rewrite(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_trades(tmp_path / "trades.jsonl", 1, 120)


def read(path: Path, as_of_ms: int = END, **options: Any) -> Trades:
    source = Source(field="data", uri=path.as_uri(), format=DataFormat(options.pop("format", "jsonl")))
    return read_trades(Access(allow_file=True), source, zone="Etc/UTC", as_of_ms=as_of_ms, **options)


class TestRows:
    """What a trade is as a row."""

    def test_a_trade_is_decided_when_opened_and_answered_when_closed(self, log: Path, tmp_path: Path) -> None:
        rows = rows_of(log, tmp_path / "models").rows
        known = sorted(lines(log), key=lambda trade: trade["opened_at"])
        assert rows.names == ("f_confidence", "f_sma_20", "f_vol_ratio")
        assert rows.t0.tolist() == [trade["opened_at"] for trade in known]
        assert rows.t1.tolist() == [trade["closed_at"] for trade in known]
        np.testing.assert_array_equal(rows.x[:, 2], np.array([trade["f_vol_ratio"] for trade in known], np.float32))
        np.testing.assert_array_equal(rows.y, [float(trade["pnl_pct"] < 0 or trade["mae_pct"] > 3.0) for trade in known])
        assert rows.horizon_ms == HOUR
        assert rows.symbols == ("AAPL",)

    def test_the_base_rule_makes_what_the_trade_made(self, log: Path, tmp_path: Path) -> None:
        records = lines(log)
        for index, record in enumerate(records):
            record["side"] = ["long", -1, "SELL", "buy"][index % 4]
        rows = rows_of(rewrite(log, records), tmp_path / "models").rows
        assert set(rows.base.tolist()) == {-1.0, 1.0}
        np.testing.assert_allclose(rows.base * rows.returns, [record["pnl_pct"] / 100 for record in records])
        assert rows.returns[1] == pytest.approx(-records[1]["pnl_pct"] / 100)

    def test_a_trade_that_closes_after_as_of_is_not_known(self, log: Path, tmp_path: Path) -> None:
        known = lines(log)
        as_of = known[60]["opened_at"] + HOUR // 2
        rows = rows_of(log, tmp_path / "models", as_of).rows
        assert rows.t1.max() <= as_of
        assert len(rows) == sum(trade["closed_at"] <= as_of for trade in known)
        # and what the log says later about that time changes nothing
        for trade in known:
            if trade["closed_at"] > as_of:
                trade["pnl_pct"], trade["f_vol_ratio"] = 99.0, 99.0
        again = rows_of(rewrite(log, known), tmp_path / "models", as_of).rows
        assert again.digest == rows.digest

    def test_open_trades_wait(self, log: Path, tmp_path: Path) -> None:
        records = lines(log)
        records[3]["status"] = "OPEN"
        records[5]["closed_at"] = None
        assert len(rows_of(rewrite(log, records), tmp_path / "models").rows) == 118

    def test_named_features_and_named_symbols(self, log: Path, tmp_path: Path) -> None:
        records = lines(log)
        for index, record in enumerate(records):
            record["symbol"] = ["AAPL", "MSFT"][index % 2]
            record["score"] = index
        rewrite(log, records)
        rows = rows_of(log, tmp_path / "m", data={"symbols": ["MSFT"]}, overrides={"features": ["score", "f_sma_20"]}).rows
        assert rows.names == ("score", "f_sma_20")
        assert rows.x[:, 0].tolist() == list(range(1, 120, 2))
        assert rows.symbols == ("MSFT",)
        whole = rows_of(log, tmp_path / "m").rows
        assert set(whole.symbols) == {"AAPL", "MSFT"}
        assert [whole.symbols[index] for index in whole.symbol[:2]] == ["AAPL", "MSFT"]

    def test_bad_is_a_loss_or_a_deep_excursion(self) -> None:
        pnl, adverse = np.array([-0.1, 0.1, 0.1, 0.0, 0.1, -0.1]), np.array([0.0, 0.02, 0.04, 0.03, np.nan, np.nan])
        none = np.zeros(6)
        trades = Trades(none.astype(int), none.astype(int), np.array([""] * 6), none, pnl, adverse, pl.DataFrame({"a": none}))
        np.testing.assert_array_equal(bad_trade(trades, Target("BadTrade", max_adverse=0.03)), [1, 0, 1, 0, np.nan, 1])

    @pytest.mark.parametrize(
        ("change", "reason", "words"),
        [
            ({"pnl_pct": None}, Reason.MISSING_VALUES, r"1 closed trades have no pnl_pct, first the one that closed at 2025-01-0"),
            ({"side": 2}, Reason.COLUMN_TYPE, "side of 1 trades is neither 1 nor -1, the first is 2"),
            ({"closed_at": START}, Reason.TIME_STAMPS, "1 trades closed before they were opened"),
            ({"f_sma_20": None}, Reason.MISSING_VALUES, "feature f_sma_20 misses in 0.8% of the trades, limit 0.5%"),
            (
                {"status": "LIQUIDATED"},
                Reason.COLUMN_TYPE,
                "the status of 1 trades with a closed_at is 'LIQUIDATED', .* write CLOSED",
            ),
            (
                {"status": None},
                Reason.COLUMN_TYPE,
                "the status of 1 trades with a closed_at is None, first of the one that closed",
            ),
        ],
    )
    def test_refusals(self, log: Path, tmp_path: Path, change: dict[str, Any], reason: Reason, words: str) -> None:
        records = lines(log)
        records[7] |= change
        with pytest.raises(RunError, match=words) as caught:
            rows_of(rewrite(log, records), tmp_path / "models")
        assert caught.value.reason is reason

    @pytest.mark.parametrize("change", [{"status": " cancelled "}, {"status": "Pending"}, {"status": "LIQUIDATED", "closed_at": None}])
    def test_what_is_no_trade_yet_or_never_was_waits(self, log: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        records = lines(log)
        records[7] |= change
        assert len(rows_of(rewrite(log, records), tmp_path / "models").rows) == len(records) - 1

    def test_a_trade_that_stands_twice_is_refused(self, log: Path, tmp_path: Path) -> None:
        records = lines(log)
        with pytest.raises(BadData, match="1 trades occur twice with all their values, first that of AAPL") as caught:
            rows_of(rewrite(log, [*records, records[4]]), tmp_path / "models")
        assert caught.value.reason is Reason.DUPLICATE_ROWS

    @pytest.mark.parametrize("name", ["id", "trade_id"])
    def test_a_trade_that_closes_twice_is_refused_by_its_id(self, log: Path, tmp_path: Path, name: str) -> None:
        """The first run has no record yet to hold the log against."""
        records = [{name if key == "id" else key: value for key, value in record.items()} for record in lines(log)]
        other = records[4] | {"pnl_pct": 9.9, "closed_at": records[4]["closed_at"] + 1}
        result = result_of(rewrite(log, [*records, other]), tmp_path / "m")
        assert (result.verdict, result.reason) == (RunVerdict.FAILED, Reason.DUPLICATE_ROWS)
        assert "trade '4' of AAPL stands there twice with different values" in result.message
        assert not (tmp_path / "m" / "datasets").exists()
        # another instrument may count from 0 as well, a row may have no id, and an order that is still open is no second trade
        others = [other | {"symbol": "MSFT"}, other | {name: None}, other | {name: None, "closed_at": END - 1}]
        assert len(rows_of(rewrite(log, [*records, *others, records[4] | {"status": "OPEN"}]), tmp_path / "m").rows) == 123

    def test_features_are_held_to_the_row_that_opened_the_trade(self, log: Path, tmp_path: Path) -> None:
        """A log of events: one row when the trade is opened, one when it closes. Features of the close would know the result."""
        records = lines(log)
        missing = dict.fromkeys(("closed_at", "pnl_pct", "mae_pct"))
        opened = [record | missing | {"status": "open"} for record in records]
        opened[3]["f_sma_20"] = None
        whole = [row for pair in zip(opened, records, strict=True) for row in pair]
        assert len(rows_of(rewrite(log, whole), tmp_path / "m").rows) == 120
        whole[2 * 7 + 1] = records[7] | {"f_vol_ratio": records[7]["pnl_pct"]}
        result = result_of(rewrite(log, whole), tmp_path / "other")
        assert (result.verdict, result.reason) == (RunVerdict.FAILED, Reason.HISTORY_CHANGED)
        assert "feature f_vol_ratio of 1 trades is not what it was when they were opened, first of trade '7'" in result.message
        # an order that was only thought of is no decision yet
        whole[2 * 7]["status"] = "PENDING"
        assert len(rows_of(rewrite(log, whole), tmp_path / "third").rows) == 120

    def test_a_log_without_features_says_how_they_are_named(self, log: Path, tmp_path: Path) -> None:
        records = [{name: value for name, value in record.items() if not name.startswith("f_")} for record in lines(log)]
        with pytest.raises(BadData, match="has no feature, that is no column f_…"):
            rows_of(rewrite(log, records), tmp_path / "models")

    def test_a_log_for_eligibility_needs_neither_side_nor_result(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text(
            "opened_at,closed_at,status\n2025-01-01T00:00:00Z,2025-01-02T00:00:00Z,closed\n2025-01-03T00:00:00Z,,OPEN\n", "utf-8"
        )
        found = read(path, format="csv", results=False)
        assert len(found) == 1
        assert np.isnan(found.pnl[0])


def test_one_mapping_of_names_serves_every_reader_of_the_log(log: Path) -> None:
    records = [{"px" if name == "id" else name: value for name, value in record.items()} for record in lines(log)]
    names = {"fill_price": "px", "opened_at": "opened_at"}
    source = Source(field="data.trades", uri=rewrite(log, records).as_uri(), format=DataFormat.JSONL, columns=names)
    found = read_trades(Access(allow_file=True), source, zone="Etc/UTC", as_of_ms=END, results=False)
    assert found.frame.get_column("fill_price").to_list() == [float(index) for index in range(120)]
    with pytest.raises(BadConfiguration, match=r"data\.trades\.columns: 'fil_price' is no column that is read here"):
        read_trades(Access(allow_file=True), replace(source, columns={"fil_price": "px"}), zone="Etc/UTC", as_of_ms=END)


class TestHistory:
    """The past of the log is what earlier runs have read."""

    def record(self, artifacts: Path) -> Path:
        (found,) = (artifacts / "datasets").glob("*.json")
        return found

    def test_what_was_read_is_kept_and_what_is_new_is_added(self, log: Path, tmp_path: Path) -> None:
        records = lines(log)
        rewrite(log, records[:100])
        rows_of(log, tmp_path / "m")
        assert History.parse(self.record(tmp_path / "m").read_bytes()).rows == 100
        rewrite(log, records)
        rows_of(log, tmp_path / "m")
        kept = History.parse(self.record(tmp_path / "m").read_bytes())
        assert kept.rows == len(kept.trades) == 120
        before = self.record(tmp_path / "m").read_bytes()
        rows_of(log, tmp_path / "m")
        assert self.record(tmp_path / "m").read_bytes() == before

    @pytest.mark.parametrize(
        ("change", "fate"),
        [
            ({"pnl_pct": 5.0}, "has other values now"),
            ({"f_confidence": 0.5}, "has other values now"),
            ({"mae_pct": 9.0}, "has other values now"),
            ({"side": -1}, "has other values now"),
            (None, "is gone"),
            ({"status": "OPEN"}, "is gone"),
            ({"opened_at": START}, "is gone"),
        ],
    )
    def test_a_past_that_changed_is_refused_by_its_first_trade(
        self, log: Path, tmp_path: Path, change: dict[str, Any] | None, fate: str
    ) -> None:
        rows_of(log, tmp_path / "m")
        records = lines(log)
        for at in (90, 40):
            opened, closed = records[at]["opened_at"], records[at]["closed_at"]
            if change is None:
                del records[at]
            else:
                records[at] |= change
        result = result_of(rewrite(log, records), tmp_path / "m")
        assert (result.verdict, result.reason) == (RunVerdict.FAILED, Reason.HISTORY_CHANGED)
        assert f"the trade of AAPL opened {timestamp(opened)} and closed {timestamp(closed)} {fate}, and 1 more trades" in result.message
        assert "datasets/fx-" in result.message
        assert "restore it" in result.message

    def test_a_run_as_of_earlier_sees_less_and_refuses_nothing(self, log: Path, tmp_path: Path) -> None:
        rows_of(log, tmp_path / "m")
        early = rows_of(log, tmp_path / "m", lines(log)[60]["closed_at"])
        assert len(early.rows) == 61
        assert History.parse(self.record(tmp_path / "m").read_bytes()).rows == 120

    def test_a_feature_that_is_logged_from_now_on_changes_no_past(self) -> None:
        old = row_digests(np.array([[1.0, 2.0], [3.0, 4.0]]), ["a", "b"])
        new = row_digests(np.array([[1.0, np.nan, 2.0], [3.0, np.nan, 4.0], [5.0, 6.0, 7.0]]), ["a", "new", "b"])
        assert new[:2] == old
        assert len(set(new)) == 3
        # a value that moved from one column to another is another one
        assert row_digests(np.array([[1.0, np.nan]]), ["a", "b"]) != row_digests(np.array([[np.nan, 1.0]]), ["a", "b"])

    def test_equal_keys_with_two_values_are_two_trades(self) -> None:
        past = [(2, 1, "X", "aa"), (2, 1, "X", "bb")]
        assert first_change(past, past, 10) is None
        what, count = first_change(past, [(2, 1, "X", "aa"), (2, 1, "X", "cc")], 10) or ("", 0)
        assert "other values" in what
        assert count == 1

    def test_two_runs_at_once_lose_nothing(self, tmp_path: Path) -> None:
        uri = (tmp_path / "d.json").as_uri()

        class Racing(FileStore):
            """Another run writes between this one's look and its write, once."""

            raced = False

            def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
                if not self.raced:
                    self.raced = True
                    keep(FileStore(), uri, [(1, 0, "X", "aa")], source="s", as_of_ms=10)
                return super().put(uri, data, create_only=create_only, if_match=if_match)

        assert keep(Racing(), uri, [(1, 0, "X", "aa"), (2, 0, "X", "bb")], source="s", as_of_ms=10) == 1
        assert History.parse(FileStore().get(uri)).rows == 2

    def test_one_who_never_gets_a_turn_is_tried_again(self, tmp_path: Path) -> None:
        class Busy(FileStore):
            """Somebody else is always faster."""

            turn = 0

            def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
                self.turn += 1
                super().put(uri, History(source="s", rows=0, digest="", trades=((self.turn, 0, "X", "x"),)).to_bytes())
                return super().put(uri, data, create_only=create_only, if_match=if_match)

        store, uri = Busy(), (tmp_path / "d.json").as_uri()
        with pytest.raises(Transient, match="written by others at the same time"):
            keep(store, uri, [(turn, 0, "X", "x") for turn in range(1, 9)], source="s", as_of_ms=0)

    def test_a_broken_record_is_no_record(self, log: Path, tmp_path: Path) -> None:
        rows_of(log, tmp_path / "m")
        self.record(tmp_path / "m").write_text("{", encoding="utf-8")
        result, code = execute(document(log, tmp_path / "m"), allow_file=True, now_ms=NOW)
        assert (result.reason, code) == (Reason.HISTORY_CHANGED, ExitCode.BAD_DATA)


class TestBootstrap:
    """Before there are enough trades the rules decide alone, and nothing has failed."""

    @pytest.mark.parametrize(("count", "words"), [(0, "0 closed trades, 20 wanted"), (19, "19 closed trades, 20 wanted")])
    def test_fewer_than_twenty_trades(self, tmp_path: Path, count: int, words: str) -> None:
        log = write_trades(tmp_path / "t.jsonl", 1, 30)
        as_of = lines(log)[count]["opened_at"]
        result, code = execute(document(log, tmp_path / "m", as_of), allow_file=True, now_ms=NOW)
        assert code is None
        assert (result.verdict, result.reason) == (RunVerdict.INELIGIBLE, Reason.BOOTSTRAP)
        assert f"{words}: normal during bootstrap, the rules alone decide; the next occasion tries again" in result.message

    def test_trades_that_are_all_good_teach_nothing(self, log: Path, tmp_path: Path) -> None:
        records = [record | {"pnl_pct": abs(record["pnl_pct"]) + 0.1, "mae_pct": 0.1} for record in lines(log)]
        result = result_of(rewrite(log, records), tmp_path / "m")
        assert (result.verdict, result.reason) == (RunVerdict.INELIGIBLE, Reason.BOOTSTRAP)
        assert "of 120 closed trades 0 are bad, and one of the 5 folds would learn from 0 of one kind, 2 wanted" in result.message

    @pytest.mark.parametrize(
        ("bad", "verdict"),
        [
            ([1, 5, 8, 11, 15, 18], RunVerdict.PUBLISHED),
            ([4, 5, 6, 7], RunVerdict.INELIGIBLE),  # the fold that tests these would learn from none
            ([4, 5, 6, 7, 12], RunVerdict.INELIGIBLE),
            ([4, 5, 6, 7, 12, 18], RunVerdict.PUBLISHED),
        ],
        ids=["six apart", "all in one fold", "all but one in one fold", "all but two in one fold"],
    )
    def test_twenty_trades_are_enough_where_every_fold_can_learn(self, tmp_path: Path, bad: list[int], verdict: RunVerdict) -> None:
        """The documented first evaluation: 20 trades, 6 of them bad."""
        records = lines(write_trades(tmp_path / "t.jsonl", 1, 20))
        for index, record in enumerate(records):
            lost = index in bad
            record |= {"pnl_pct": -0.8 if lost else 0.9, "mae_pct": 0.5, "f_vol_ratio": 2.0 * lost + 0.1 * record["f_vol_ratio"]}
        result = result_of(rewrite(tmp_path / "t.jsonl", records), tmp_path / "m", START + 10 * DAY)
        assert result.verdict is verdict, result.message
        if verdict is RunVerdict.INELIGIBLE:
            assert result.reason == Reason.BOOTSTRAP

    @pytest.mark.parametrize("count", [2, 12])
    def test_however_many_bad_trades_one_fold_holds_it_learns_from_those_of_the_others(self, tmp_path: Path, count: int) -> None:
        """A losing streak, and nothing else lost: the fold that tests it would learn from none."""
        records = lines(write_trades(tmp_path / "t.jsonl", 1, 60))
        for index, record in enumerate(records):
            record |= {"pnl_pct": -0.8 if 24 <= index < 24 + count else 0.9, "mae_pct": 0.5}
        log = rewrite(tmp_path / "t.jsonl", records)
        result = result_of(log, tmp_path / "m", START + 20 * DAY)
        assert (result.verdict, result.reason) == (RunVerdict.INELIGIBLE, Reason.BOOTSTRAP), result.message
        assert f"of 60 closed trades {count} are bad, and one of the 5 folds would learn from 0 of one kind" in result.message
        forced, code = execute(document(log, tmp_path / "n", START + 20 * DAY, force=True), allow_file=True, now_ms=NOW)
        assert (forced.reason, code) == (Reason.TOO_FEW_ROWS, ExitCode.BAD_DATA)
        assert forced.message.endswith("wait for more trades")

    @pytest.mark.parametrize("blank", [b"", b"\n", gzip.compress(b"")], ids=["empty", "a line", "packed"])
    def test_a_log_that_nobody_has_written_into(self, tmp_path: Path, blank: bytes) -> None:
        (tmp_path / "t.jsonl").write_bytes(blank)
        result, code = execute(document(tmp_path / "t.jsonl", tmp_path / "m"), allow_file=True, now_ms=NOW)
        assert (result.verdict, result.reason, code) == (RunVerdict.INELIGIBLE, Reason.BOOTSTRAP, None)
        assert "0 closed trades, 20 wanted" in result.message

    def test_a_day_without_a_trade_among_others(self, tmp_path: Path) -> None:
        folder = tmp_path / "log"
        folder.mkdir()
        write_trades(folder / "2.jsonl", 1, 30)
        for name in ("1", "3"):
            (folder / f"{name}.jsonl").touch()
        assert len(rows_of(folder, tmp_path / "m", data={"uri": f"{folder.as_uri()}/"}).rows) == 30

    def test_a_person_may_skip_it_but_not_what_no_fold_can_do_without(self, tmp_path: Path) -> None:
        log = write_trades(tmp_path / "t.jsonl", 1, 30)
        as_of = lines(log)[4]["opened_at"]
        result, code = execute(document(log, tmp_path / "m", as_of, force=True), allow_file=True, now_ms=NOW)
        assert (result.reason, code) == (Reason.TOO_FEW_ROWS, ExitCode.BAD_DATA)
        assert "each of 5 folds has to learn from trades of either kind, and one has none of one" in result.message

    def test_trades_that_have_stopped_are_refused(self, log: Path, tmp_path: Path) -> None:
        result = result_of(log, tmp_path / "m", END + 40 * DAY)
        assert (result.verdict, result.reason) == (RunVerdict.FAILED, Reason.STALE)

    def test_its_own_trades_count_for_eligibility(self, log: Path, tmp_path: Path) -> None:
        found = rows_of(log, tmp_path / "m", eligibility={"minClosedTrades": 121, "minAge": "30d"})
        assert [sentence.partition(":")[0] for sentence in found.unmet] == ["eligibility.minAge", "eligibility.minClosedTrades"]
        assert "120 closed trades in data, 121 wanted" in found.unmet[1]


def test_symbols_in_pods_of_their_own_share_one_record(log: Path, tmp_path: Path) -> None:
    """An Indexed Job: each pod reads the whole log, and holds it against the same record."""
    records = [record | {"symbol": ["X", "Y"][index % 2]} for index, record in enumerate(lines(log))]
    found = fields(rewrite(log, records), tmp_path / "m", data={"symbols": ["X", "Y"]})
    for index in (0, 1):
        run = run_document(found, timestamp(END), part="Shard")
        result, code = execute(run, allow_file=True, now_ms=NOW, shard=index)
        assert (result.verdict, code) == (RunVerdict.PREPARED, None), result.message
    (record,) = (tmp_path / "m" / "datasets").glob("*.json")
    assert History.parse(record.read_bytes()).rows == 120
    gathered = pool(get_shards(FileStore(), run_document(found, timestamp(END), part="Gather")))
    assert gathered.rows.symbols == ("X", "Y")
    assert len(gathered.rows) == 120
    assert (np.diff(gathered.rows.t0) >= 0).all()


def test_a_log_beside_bars_says_for_how_long_was_traded(tmp_path: Path) -> None:
    bars = planted.market(1, 1_200).bars
    path = planted.write_bars(tmp_path / "b.csv", bars)
    log = write_trades(tmp_path / "t.jsonl", 1, 60)
    records = [record | {"symbol": ["X", "Y"][index % 2]} for index, record in enumerate(lines(log))]
    found = spec(path, tmp_path / "m", eligibility={"minAge": "14d", "minClosedTrades": 75})
    found["data"] |= {"symbols": ["X"], "windowBars": 1_000, "trades": {"uri": rewrite(log, records).as_uri(), "format": "jsonl"}}
    run = run_document(found, timestamp(int(bars.time[-1])))
    missing = prepare(run, make_plan(run), Access(allow_file=True), now_ms=NOW).unmet
    # those of Y are not those of X
    assert missing[1] == "eligibility.minClosedTrades: 30 closed trades in data.trades (30 more are of Y), 75 wanted"
    assert missing[0].startswith("eligibility.minAge: the closed trades of data.trades (30 more are of Y) span 5d")
    smoke = run_document(found, timestamp(int(bars.time[-1])), mode="Smoke")
    assert prepare(smoke, make_plan(smoke), Access(allow_file=True), now_ms=NOW).unmet == (missing[0].replace("14d wanted", "7d wanted"),)
