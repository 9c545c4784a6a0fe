"""Bars from an exchange: ccxt's own client against a server on loopback that is busy, cut off, or killed half way."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from exchange_server import ExchangeServer, bar_at, exchange_server
from trainer_runs import HOUR, NOW, run_document, spec

from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ExitCode
from walkforward_trainer.__main__ import main
from walkforward_trainer.data.bars import read_bars
from walkforward_trainer.data.download import Downloaded, Wanted, download, partitions
from walkforward_trainer.data.exchange import ATTEMPTS, Exchange, open_client
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, Transient
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import instant, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 24 * HOUR
START = instant("2025-01-01T00:00:00Z", "start")


@pytest.fixture
def exchange() -> Iterator[ExchangeServer]:
    # half past: the bar of that hour is still open
    with exchange_server(now_ms=START + 5 * DAY + 12 * HOUR + HOUR // 2, page=50) as server:
        yield server


def fetched(server: ExchangeServer, to: Path, slept: list[float] | None = None, **changes: Any) -> Downloaded:
    waits: list[float] = [] if slept is None else slept
    client = open_client("binance", server.settings())
    fields: dict[str, Any] = {"symbol": "BTC/USDT", "timeframe": "1h", "since_ms": START, "until_ms": START + 30 * DAY} | changes
    return download(Exchange("binance", client, waits.append), FileStore(), Wanted(to=to.as_uri(), **fields))


def frame(to: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(to.rglob("*.parquet"))])


def opens(to: Path) -> list[int]:
    return [int(at) for at in frame(to).get_column("time").dt.epoch("ms").to_list()]


def hours(first: int, last: int) -> list[int]:
    return [START + hour * HOUR for hour in range(first, last)]


def test_every_closed_bar_is_there_once_and_the_open_one_is_not(exchange: ExchangeServer, tmp_path: Path) -> None:
    done = fetched(exchange, tmp_path)
    assert opens(tmp_path) == hours(0, 5 * 24 + 12)
    assert (done.bars, done.written, done.kept) == (132, 6, 0)
    assert len(exchange.asked) == 3
    table = frame(tmp_path)
    for row in (0, 77, 131):
        assert table.row(row)[1:6] == bar_at(opens(tmp_path)[row])
    assert set(table.get_column("symbol")) == {"BTC/USDT"}
    assert str(done) == "132 bars in 6 files from 2025-01-01T00:00:00Z to 2025-01-06T11:00:00Z, 0 files were there already"


def test_the_trainer_reads_what_was_downloaded(exchange: ExchangeServer, tmp_path: Path) -> None:
    fetched(exchange, tmp_path / "bars")
    fields = spec((tmp_path / "bars").as_uri(), tmp_path / "m")
    fields["data"] |= {"format": "parquet", "symbols": ["BTC/USDT"]}
    raw = read_bars(Access(allow_file=True), make_plan(run_document(fields, timestamp(exchange.now_ms))), now_ms=NOW)
    np.testing.assert_array_equal(raw.bars.time, np.array(hours(1, 5 * 24 + 13)))
    assert raw.bars.close[0] == bar_at(START)[3]


class TestResume:
    """A second download asks for what is missing and no more."""

    def test_full_partitions_are_never_asked_for_again(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        fetched(exchange, tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
        exchange.asked.clear()
        exchange.now_ms += 20 * HOUR
        done = fetched(exchange, tmp_path)
        assert exchange.asked == [START + 5 * DAY]
        assert (done.kept, done.written) == (5, 2)
        assert opens(tmp_path) == hours(0, 6 * 24 + 8)
        assert [path.name for path in before if "01-06" not in str(path) and before[path] != path.read_bytes()] == []

    def test_a_partition_that_was_cut_by_until_is_filled_later_wherever_it_lies(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        fetched(exchange, tmp_path, until_ms=START + DAY + 5 * HOUR)
        fetched(exchange, tmp_path, since_ms=START + 3 * DAY)
        assert len(opens(tmp_path)) == 24 + 5 + 24 + 24 + 12
        done = fetched(exchange, tmp_path)
        assert opens(tmp_path) == hours(0, 5 * 24 + 12)
        assert done.kept == 3

    def test_earlier_bars_are_added_before_those_that_are_there(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        fetched(exchange, tmp_path, since_ms=START + 4 * DAY)
        fetched(exchange, tmp_path, since_ms=START + 2 * DAY)
        assert opens(tmp_path) == hours(48, 5 * 24 + 12)

    def test_the_same_bars_are_the_same_bytes(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        fetched(exchange, tmp_path / "a")
        fetched(exchange, tmp_path / "b")
        for path in (tmp_path / "a").rglob("*.parquet"):
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()

    def test_a_killed_download_goes_on_and_nothing_is_there_twice(self, tmp_path: Path) -> None:
        with exchange_server(now_ms=START + 5 * DAY + HOUR // 2, page=20, delay_s=0.15) as server:
            (tmp_path / "settings.json").write_text(json.dumps(server.settings()), encoding="utf-8")
            command = self.command(tmp_path, ["--until", "2025-01-06"])
            process = subprocess.Popen(
                [sys.executable, "-m", "walkforward_trainer", *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE
            )
            deadline = time.monotonic() + 60
            while len(server.asked) < 4:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            there = opens(tmp_path / "bars")
            assert there
            assert there == hours(0, len(there))
            assert len(there) % 24 == 0
            server.asked.clear()
            server.delay_s = 0.0
            assert main(command) == 0
            assert server.asked[0] == START + len(there) * HOUR
            assert opens(tmp_path / "bars") == hours(0, 5 * 24)

    def command(self, folder: Path, more: list[str]) -> list[str]:
        target = ["--to", (folder / "bars").as_uri(), "--allow-file", "--settings", str(folder / "settings.json")]
        return ["download", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1h", "--since", "2025-01-01", *target, *more]


class TestTrouble:
    """A busy exchange is waited for, one that refuses is not."""

    def test_busy_down_and_cut_off_are_tried_again(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        exchange.faults = {1: "busy", 2: "down", 4: "cut"}
        slept: list[float] = []
        fetched(exchange, tmp_path, slept)
        assert opens(tmp_path) == hours(0, 5 * 24 + 12)
        # 7 s were asked for; then twice as long as before; then from the beginning for another page
        assert slept == [7.0, 2.0, 1.0]

    def test_one_that_stays_down_is_given_up_and_what_was_written_stays(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        exchange.faults = dict.fromkeys(range(2, 2 + ATTEMPTS), "down")
        slept: list[float] = []
        with pytest.raises(Transient, match=r"binance: OperationFailed.*, 6 times; what was downloaded is kept") as caught:
            fetched(exchange, tmp_path, slept)
        assert caught.value.reason is Reason.EXCHANGE_UNAVAILABLE
        assert slept == [1.0, 2.0, 4.0, 8.0, 16.0]
        assert opens(tmp_path) == hours(0, 48)
        fetched(exchange, tmp_path)
        assert opens(tmp_path) == hours(0, 5 * 24 + 12)

    def test_one_that_refuses_is_asked_once(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        exchange.faults = {1: "refuse"}
        slept: list[float] = []
        with pytest.raises(BadConfiguration, match=r"binance: BadSymbol: .*Invalid symbol") as caught:
            fetched(exchange, tmp_path, slept)
        assert caught.value.reason is Reason.EXCHANGE_REFUSED
        assert slept == []

    def test_an_exchange_whose_clock_is_behind_decides_what_has_closed(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        exchange.now_ms = START + 3 * HOUR + 1_000
        fetched(exchange, tmp_path)
        # the bar that closed a second ago may still be corrected
        assert opens(tmp_path) == hours(0, 2)

    def test_a_market_that_was_closed_has_no_bars_there(self, tmp_path: Path) -> None:
        with exchange_server(now_ms=START + 5 * DAY, closed=(START + 30 * HOUR, START + 80 * HOUR), page=20) as server:
            fetched(server, tmp_path)
        assert opens(tmp_path) == [*hours(0, 30), *hours(80, 119)]
        assert not (tmp_path / "date=2025-01-03").exists()

    def test_what_the_exchange_does_not_have_is_said(
        self, exchange: ExchangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(BadConfiguration, match="--symbol BTC/EUR: binance does not have it; near it: BTC/USDT"):
            fetched(exchange, tmp_path, symbol="BTC/EUR")
        with pytest.raises(BadConfiguration, match="--timeframe 7m: binance has 1s, 1m"):
            fetched(exchange, tmp_path, timeframe="7m")
        exchange.first_ms = START + 4 * DAY
        fetched(exchange, tmp_path)
        assert "binance has no bars of BTC/USDT before 2025-01-05T00:00:00Z" in caplog.text

    def test_something_else_in_the_way_is_not_overwritten(self, exchange: ExchangeServer, tmp_path: Path) -> None:
        path = tmp_path / "date=2025-01-01" / "BTC-USDT.parquet"
        path.parent.mkdir()
        path.write_text("precious", encoding="utf-8")
        with pytest.raises(BadData, match="something else lies there"):
            fetched(exchange, tmp_path)
        assert path.read_text(encoding="utf-8") == "precious"


def test_daily_bars_lie_by_the_year() -> None:
    wanted = Wanted("X", "1d", START - 40 * DAY, START + 400 * DAY, "s3://b/p/")
    assert [part.uri for part in partitions(wanted, wanted.until_ms)] == [f"s3://b/p/year={year}/X.parquet" for year in (2024, 2025, 2026)]
    assert [
        part.start_ms == instant(f"{year}-01-01T00:00:00Z", "")
        for part, year in zip(partitions(wanted, START + DAY), (2024, 2025), strict=True)
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exchange", "nowhere"], "--exchange nowhere: ccxt .* does not know it"),
        (["--timeframe", "hour"], "--timeframe 'hour'"),
        (["--since", "yesterday"], "--since 'yesterday'"),
        (["--since", "2025-02-01", "--until", "2025-01-01"], "--since 2025-02-01 is not before --until 2025-01-01"),
        (["--settings", "none.json"], "--settings none.json: .*No such file"),
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    given = {"--exchange": "binance", "--symbol": "BTC/USDT", "--timeframe": "1h", "--since": "2025-01-01", "--to": tmp_path.as_uri()}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    code = main(["download", "--allow-file", *(part for pair in given.items() for part in pair)])
    assert code == ExitCode.BAD_CONFIGURATION
    assert re.search(words, capsys.readouterr().err)
