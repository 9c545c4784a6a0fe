"""Every bad input that has a name, for every kind of rows: refused by name, and nothing of a bundle is ever to be seen."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pytest
import yaml
from planted import DAY, HOUR, MINUTE, START, market, write_bars, write_samples, write_trades
from trainer_runs import run_document, spec

from walkforward_core.runs import ExitCode, ResultDocument, RunVerdict
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import load, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS: Final = 700
SAMPLES: Final = 2_200
NOW: Final = START + 900 * DAY


@dataclass(frozen=True, slots=True)
class Scene:
    """A recipe with the kind of its rows, and the length of one."""

    recipe: str
    kind: str
    timeframe: str = "1h"
    bar_ms: int = HOUR


OHLCV: Final = Scene("ohlcv", "bars")
HOURLY: Final = Scene("multi-timeframe", "bars")
DAILY: Final = Scene("daily-ensemble", "bars", "1d", DAY)
FILTER: Final = Scene("risk-filter", "trades")
DRIFT: Final = Scene("drift-robust", "samples", "1m", MINUTE)
BARS: Final = (OHLCV, HOURLY, DAILY)


def bars(scene: Scene) -> pl.DataFrame:
    """Return good bars, stamped at their open, in milliseconds."""
    made = market(1, ROWS, bar_ms=scene.bar_ms, edge=0.8).bars
    columns = {name: getattr(made, name) for name in ("open", "high", "low", "close", "volume")}
    return pl.DataFrame({"time": made.time - scene.bar_ms} | columns)


def lines(tmp_path: Path, scene: Scene) -> list[dict[str, Any]]:
    """Return good trades or samples."""
    path = tmp_path / "good"
    if scene.kind == "trades":
        write_trades(path, 1, 80)
    else:
        write_samples(path, 1, SAMPLES)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


def ended(tmp_path: Path, scene: Scene, data: Path, **changes: Any) -> tuple[ResultDocument, ExitCode | None]:
    """Run the recipe, all of it, on ``data``."""
    rows = {"uri": data.as_uri(), "symbols": ["AAPL"], "timeframe": scene.timeframe, "windowBars": 400, "asOf": timestamp(as_of(scene))}
    rows |= {"format": "jsonl"} if scene.kind != "bars" else {}
    rows["quality"] = {"minRows": 20 if scene.kind == "trades" else 100}
    spec = {"recipe": scene.recipe, "data": rows | changes.pop("asked", {}), "artifacts": {"uri": (tmp_path / "models").as_uri()}}
    spec["overrides"] = {"model": {"trees": 5}} | changes
    document = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": {"name": "bad"}, "spec": spec}
    path = tmp_path / "retrain.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return execute(load(path, now_ms=NOW), allow_file=True, now_ms=NOW)


def as_of(scene: Scene) -> int:
    """Return when the good rows end."""
    return START + 13 * DAY if scene.kind == "trades" else START + (SAMPLES if scene.kind == "samples" else ROWS) * scene.bar_ms


def refused(tmp_path: Path, outcome: tuple[ResultDocument, ExitCode | None], reason: Reason, words: str) -> None:
    """Hold a run to what a refusal is: a verdict with its reason, a code, a message with the next step; no bundle, not even half of one."""
    result, code = outcome
    assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, reason, ExitCode.BAD_DATA), result.message
    assert re.search(words, result.message), result.message
    assert "; " in result.message, "no next step"
    written = [path.relative_to(tmp_path / "models").parts[0] for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert set(written) <= {"runs", "audit", "datasets"}
    assert not list((tmp_path / "models").rglob("manifest.json"))
    assert json.loads(next((tmp_path / "models").rglob("result.json")).read_bytes())["reason"] == reason


def rising(frame: pl.DataFrame) -> pl.DataFrame:
    close = 100.0 * np.exp(1e-3 * np.arange(len(frame)))
    opened = np.concatenate((close[:1], close[:-1]))
    return frame.with_columns(
        open=pl.Series(opened), high=pl.Series(close * 1.0001), low=pl.Series(opened * 0.9999), close=pl.Series(close)
    )


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(100.0).alias(name) for name in ("open", "high", "low", "close"))


def at(row: int, value: Any) -> pl.Expr:
    return pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(pl.col("time")).alias("time")


BAD_BARS: Final[dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], Reason, str]]] = {
    "wrong column": (lambda f: f.rename({"close": "last"}), Reason.COLUMN_MISSING, "no column close among .*'last'"),
    "wrong dtype": (lambda f: f.with_columns(close=pl.lit("dear")), Reason.COLUMN_TYPE, "column 'close' is String, not a number .*'dear'"),
    "yes and no": (lambda f: f.with_columns(volume=pl.lit(True)), Reason.COLUMN_TYPE, "column 'volume' is Boolean"),
    "no rows": (lambda f: f[:0], Reason.EMPTY_WINDOW, "no rows; check the address"),
    "ten rows": (lambda f: f[-10:], Reason.TOO_FEW_ROWS, "10 bars were closed .* deliver more bars"),
    "only up": (rising, Reason.ONE_CLASS, "the rarest answer has 0 rows and needs 20; choose another"),
    "flat": (flat, Reason.FLAT, r"maxFlat: 99\.\d% of the bars only repeat the one before, limit 10\.0%, first at .*; leave out"),
    "a wrong print": (
        lambda f: f.with_columns(high=pl.when(pl.int_range(pl.len()) == ROWS - 50).then(900.0).otherwise("high")),
        Reason.JUMP,
        r"maxJump: the price moves by a factor of .*high 900, .* in 1 places; correct",
    ),
    "all missing": (lambda f: f.with_columns(volume=pl.lit(None, pl.Float64)), Reason.MISSING_VALUES, "column volume misses 100.0%"),
    "all NaN": (lambda f: f.with_columns(close=pl.lit(float("nan"))), Reason.MISSING_VALUES, "column close misses 100.0%"),
    "infinite": (lambda f: f.with_columns(volume=pl.lit(float("inf"))), Reason.MISSING_VALUES, "column volume misses 100.0%"),
    "duplicate times": (lambda f: pl.concat([f[:-5], f[-6:]]), Reason.DUPLICATE_BARS, "1 bars occur twice, first .*; keep one of each"),
    "future times": (lambda f: f.with_columns(at(ROWS - 1, NOW + 10 * DAY)), Reason.FUTURE_BARS, "bars lie in the future, .*data.timeZone"),
    "a time that misses": (lambda f: f.with_columns(at(5, None)), Reason.TIME_STAMPS, "1 rows have no time stamp"),
    "times that are words": (lambda f: f.with_columns(time=pl.lit("yesterday")), Reason.TIME_STAMPS, "yesterday"),
    "backwards": (lambda f: f.reverse(), Reason.OUT_OF_ORDER, "699 bars lie before the one that precedes them .*sort by time"),
    "a gap": (lambda f: pl.concat([f[: ROWS - 300], f[ROWS - 100 :]]), Reason.GAP, "data.quality.maxGap: .* limit 5d"),
    "old": (
        lambda f: f.with_columns(pl.col("time") - 400 * DAY),
        Reason.STALE,
        "data.quality.maxStaleness: .*400d before asOf, limit [37]d",
    ),
    "closer bars": (
        lambda f: f.with_columns(time=f["time"][-1] - (f["time"][-1] - f["time"]) // 2),
        Reason.TIMEFRAME_MISMATCH,
        r"data.timeframe is 1[hd], but 699 bars are closer",
    ),
    "high below low": (lambda f: f.rename({"high": "low", "low": "high"}), Reason.IMPOSSIBLE_PRICES, "high is below open or close"),
    "below zero": (lambda f: f.with_columns(-pl.col("close")), Reason.IMPOSSIBLE_PRICES, "a price is not above zero"),
    "another symbol": (lambda f: f.with_columns(symbol=pl.lit("MSFT")), Reason.SYMBOL_MISSING, "MSFT"),
}


@pytest.mark.parametrize("scene", BARS, ids=lambda scene: scene.recipe)
@pytest.mark.parametrize("name", BAD_BARS)
def test_bad_bars(tmp_path: Path, name: str, scene: Scene) -> None:
    change, reason, words = BAD_BARS[name]
    path = tmp_path / "bars.parquet"
    change(bars(scene)).write_parquet(path)
    refused(tmp_path, ended(tmp_path, scene, path), reason, words)


@pytest.mark.parametrize("kind", ["Bars", "Ticks"])
def test_several_symbols_in_a_table_that_names_none(tmp_path: Path, kind: str) -> None:
    """Each of them would have all the rows, and every outcome would count twice as proof."""
    path = tmp_path / "rows.parquet"
    bars(OHLCV).with_columns(price=pl.col("close")).write_parquet(path)
    asked = {"symbols": ["AAPL", "MSFT"], "kind": kind}
    outcome = ended(tmp_path, OHLCV, path, asked=asked)
    refused(tmp_path, outcome, Reason.COLUMN_MISSING, r"^AAPL: .*no column symbol among .*data.columns: \{symbol: its name there\}")


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("scene", [HOURLY, DAILY], ids=lambda scene: scene.recipe)
def test_a_feature_that_is_no_number(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "bars.parquet"
    bars(scene).with_columns(pl.col(name) * 1e306 for name in ("open", "high", "low", "close")).write_parquet(path)
    refused(tmp_path, ended(tmp_path, scene, path), Reason.BAD_FEATURE, "feature .* is not a finite number in 400 of 400 rows; check")


Lines = list[dict[str, Any]]


def each(**fields: Any) -> Callable[[Lines], Lines]:
    """Return a change that sets ``fields`` of every line, ``raw__mid`` that inside another."""

    def change(found: Lines) -> Lines:
        for line in found:
            for name, value in fields.items():
                outer, _, inner = name.rpartition("__")
                (line[outer] if outer else line)[inner] = value(line) if callable(value) else value
        return found

    return change


def without(*names: str) -> Callable[[Lines], Lines]:
    return lambda found: [{name: value for name, value in line.items() if name not in names} for line in found]


def moved(days: int, *names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: line | {name: line[name] + days * DAY for name in names}


FUTURE: Final = moved(1_000, "opened_at", "closed_at")
BAD_TRADES: Final[dict[str, tuple[Callable[[Lines], Lines], Reason, str]]] = {
    "wrong column": (without("pnl_pct"), Reason.COLUMN_MISSING, "no column pnl_pct among"),
    "no feature": (without("f_sma_20", "f_vol_ratio", "f_confidence"), Reason.COLUMN_MISSING, "no column f_…; log what was known"),
    "wrong dtype": (each(pnl_pct="dear"), Reason.COLUMN_TYPE, "column 'pnl_pct' is String, not a number .*'dear'"),
    "a feature of words": (each(f_sma_20="x"), Reason.COLUMN_TYPE, "column 'f_sma_20' is String, not a number"),
    "no such side": (each(side=7), Reason.COLUMN_TYPE, "neither 1 nor -1, the first is 7; write 1 or -1"),
    "all missing": (each(f_sma_20=None), Reason.MISSING_VALUES, "feature f_sma_20 misses in 100.0%"),
    "beyond float32": (each(f_sma_20=1e300), Reason.MISSING_VALUES, "feature f_sma_20 misses in 100.0%"),
    "duplicates": (lambda found: found + found[:1], Reason.DUPLICATE_ROWS, "1 trades occur twice .*; keep one of each"),
    "future times": (
        lambda found: [*found, FUTURE(found[0])],
        Reason.FUTURE_BARS,
        "trades lie in the future, the last at 2027-10-03.*data.timeZone",
    ),
    "closed, then opened": (
        each(closed_at=lambda line: line["opened_at"] - 1),
        Reason.TIME_STAMPS,
        "80 trades closed before they were opened",
    ),
    "no time": (each(opened_at=None), Reason.TIME_STAMPS, "80 rows have no time stamp; remove or repair"),
    "another symbol": (each(symbol="MSFT"), Reason.SYMBOL_MISSING, r"of symbol 'AAPL', there are MSFT; correct data.symbols"),
    "old": (lambda found: [moved(-900, "opened_at", "closed_at")(line) for line in found], Reason.STALE, "maxStaleness: .*look why"),
}
BAD_SAMPLES: Final[dict[str, tuple[Callable[[Lines], Lines], Reason, str]]] = {
    "wrong column": (without("raw"), Reason.EMPTY_WINDOW, "missing required field `raw`.*check the address and the logger"),
    "wrong dtype": (each(raw__mid="dear"), Reason.EMPTY_WINDOW, r"got `str` - at `\$.raw.mid`.*check the address and the logger"),
    "no rows": (lambda _: [], Reason.EMPTY_WINDOW, "no samples before asOf .*; check the address and the logger"),
    "ten rows": (lambda found: found[-10:], Reason.TOO_FEW_ROWS, "no sample has every feature, .*; log longer"),
    "only up": (each(raw__mid=lambda line: 100.0 + (line["ts"] - START) / DAY), Reason.ONE_CLASS, "needs 20; choose another horizonBars"),
    "flat": (each(raw__mid=100.0), Reason.ONE_CLASS, "needs 20; choose another horizonBars"),
    "all missing": (each(raw__rsi14=None), Reason.MISSING_VALUES, "rsi14 misses in 100.00% of the samples"),
    "duplicate times": (lambda found: found + found[-1:], Reason.DUPLICATE_ROWS, "1 samples occur twice, first at .*; keep one of each"),
    "future times": (lambda found: [*found, moved(1_000, "ts")(found[-1])], Reason.FUTURE_BARS, "samples lie in the future"),
    "backwards": (lambda found: found[::-1], Reason.OUT_OF_ORDER, "2199 samples are older than the one before them"),
    "a gap": (lambda found: found[:1_000] + found[1_900:], Reason.GAP, "data.quality.maxGap: 15h1m"),
    "old": (lambda found: [moved(-400, "ts")(line) for line in found], Reason.STALE, "maxStaleness: .*look whether the logger runs"),
    "below zero": (each(raw__mid=-1.0), Reason.IMPOSSIBLE_PRICES, "mid is not above zero"),
}


@pytest.mark.parametrize(
    ("scene", "name"),
    [*((FILTER, name) for name in BAD_TRADES), *((DRIFT, name) for name in BAD_SAMPLES)],
    ids=lambda one: one.recipe if isinstance(one, Scene) else one,
)
def test_bad_trades_and_samples(tmp_path: Path, scene: Scene, name: str) -> None:
    change, reason, words = (BAD_TRADES if scene is FILTER else BAD_SAMPLES)[name]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines(tmp_path, scene))), encoding="utf-8")
    refused(tmp_path, ended(tmp_path, scene, path), reason, words)


def test_several_symbols_in_a_log_of_trades_that_names_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in without("symbol")(lines(tmp_path, FILTER))), encoding="utf-8")
    outcome = ended(tmp_path, FILTER, path, asked={"symbols": ["AAPL", "MSFT"]})
    refused(tmp_path, outcome, Reason.SYMBOL_MISSING, "AAPL: data: no closed trades of symbol 'AAPL'")


@pytest.mark.parametrize(
    ("scene", "symbols", "words"),
    [
        (OHLCV, ["AAPL", "MSFT", "AAPL"], "data.symbols: AAPL stands there twice, .*; name each one once"),
        (DRIFT, ["BTC", "ETH"], "data.symbols: a log of samples is of one symbol, not of 2; name one"),
    ],
    ids=["twice", "samples"],
)
def test_symbols_that_no_run_can_have(tmp_path: Path, scene: Scene, symbols: list[str], words: str) -> None:
    result, code = ended(tmp_path, scene, tmp_path / "none", asked={"symbols": symbols})
    assert (result.reason, code) == (Reason.SPEC_INVALID, ExitCode.BAD_CONFIGURATION)
    assert re.search(words, result.message), result.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found[:1], "1 closed trades, 20 wanted"),
        (lambda found: found[:10], "10 closed trades, 20 wanted"),
        (each(opened_at=START, closed_at=START + HOUR), "one of the 5 folds would learn from 0 of one kind, 2 wanted"),
    ],
    ids=["one", "ten", "all at once"],
)
def test_few_trades_are_no_error(tmp_path: Path, change: Callable[[Lines], Lines], words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines(tmp_path, FILTER))), encoding="utf-8")
    result, code = ended(tmp_path, FILTER, path)
    assert (result.verdict, result.reason, code) == (RunVerdict.INELIGIBLE, Reason.BOOTSTRAP, None)
    assert f"{words}: normal during bootstrap" in result.message


@pytest.mark.parametrize("scene", [*BARS, FILTER, DRIFT], ids=lambda scene: scene.recipe)
@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (None, Reason.DATA_NOT_FOUND, "neither a file nor a prefix .*; check the address and data.format"),
        (b"hello", Reason.DATA_UNREADABLE, "not readable as .*; check data.format and the file"),
    ],
    ids=["not there", "something else"],
)
def test_what_is_no_data(tmp_path: Path, scene: Scene, content: bytes | None, reason: Reason, words: str) -> None:
    path = tmp_path / ("rows.parquet" if scene.kind == "bars" else "rows.jsonl")
    if content is not None:
        path.write_bytes(content)
    if scene is DRIFT and content is not None:
        reason, words = Reason.EMPTY_WINDOW, "no samples before asOf .*; check the address and the logger"
    refused(tmp_path, ended(tmp_path, scene, path), reason, words)


@pytest.mark.parametrize("scene", BARS, ids=lambda scene: scene.recipe)
@pytest.mark.parametrize(("instant", "reason"), [("2001-01-01T00:00:00Z", Reason.EMPTY_WINDOW), ("2027-06-01T00:00:00Z", Reason.STALE)])
def test_an_empty_window(tmp_path: Path, scene: Scene, instant: str, reason: Reason) -> None:
    path = tmp_path / "bars.parquet"
    bars(scene).write_parquet(path)
    refused(tmp_path, ended(tmp_path, scene, path, asked={"asOf": instant}), reason, instant if reason is Reason.EMPTY_WINDOW else "limit")


@pytest.mark.parametrize("field", ["data", "artifacts", "join", "baseline"])
@pytest.mark.parametrize("address", ["/a\0b.csv", "/a%00b.csv", "/a/../b.csv", "/%2e%2e/b.csv", "/" + "x" * 300, "//b.csv"])
def test_an_odd_address_is_refused_as_it_stands(tmp_path: Path, field: str, address: str) -> None:
    """As the operator writes it: no API server and no YAML has looked at it before."""
    good, odd = write_bars(tmp_path / "bars.csv", market(1, ROWS).bars), f"{tmp_path.as_uri()}{address}"
    fields = spec(odd if field == "data" else good, odd if field == "artifacts" else tmp_path / "models")
    fields["data"] |= {"symbols": ["X"], "windowBars": 550}
    fields["validation"], fields["overrides"] = {"folds": 2}, {"model": {"trees": 2}}
    if field == "join":
        fields["data"]["joins"] = [{"name": "m", "uri": odd, "columns": ["v"]}]
    changes = {"baseline": {"uri": odd, "digest": "sha256:0"}} if field == "baseline" else {}
    result, code = execute(run_document(fields, timestamp(START + ROWS * HOUR), **changes), allow_file=True, now_ms=NOW)
    assert (result.verdict, code) in {(RunVerdict.FAILED, ExitCode.BAD_CONFIGURATION), (RunVerdict.FAILED, ExitCode.BAD_DATA)}, (
        result.message
    )
    assert {"data": "data.uri", "artifacts": "artifacts.uri", "join": "data.joins.m.uri", "baseline": "baseline"}[field] in result.message
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_store_that_breaks_in_its_own_way_does_not_take_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The termination message still says how the run ended, where nothing can be written any more."""

    def broken(*_: Any, **__: Any) -> str:
        raise RuntimeError("as no store does")

    monkeypatch.setattr("walkforward_trainer.pipeline.check_writable", lambda *_: None)

    monkeypatch.setattr("walkforward_core.objectstore.FileStore.put", broken)
    result, code = ended(tmp_path, OHLCV, tmp_path / "none.parquet")
    assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.DATA_NOT_FOUND, ExitCode.BAD_DATA)
