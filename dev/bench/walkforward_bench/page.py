"""Figures as Markdown: a table for each part, the project's bars with what became of each, and the page that holds them.

A part that was never measured says so; ratios are of medians taken in the same run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from walkforward_bench.record import PARTS, ROOT, WORK, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["bars", "filled", "kept", "table"]

NOT_MEASURED: Final = "not measured yet"
SHOWN_SECONDS: Final = 0.5
"""A stage of the memory part that took less is not shown."""
_BLOCK: Final = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Kept = dict[str, dict[str, Any]]


def kept(folder: Path = WORK, e2e: Path = ROOT / ".work" / "e2e" / "abort-latency") -> Kept:
    """Return everything measured, by part; the demo's times by what they had to build, aborts as the end-to-end tests noted them."""
    names = (*PARTS, "demo-cold", "demo-warm")
    found = {name: document for name in names if (document := read(name, folder)) is not None}
    if noted := sorted(e2e.glob("*.json")):
        measured = datetime.fromtimestamp(max(file.stat().st_mtime for file in noted), UTC).strftime("%Y-%m-%d %H:%M UTC")
        found["abort"] = {"measured": measured, "figures": {"scenarios": [json.loads(file.read_text()) for file in noted]}}
    return found


def filled(text: str, found: Kept) -> str:
    """Return the page with every block between its markers written anew.

    Raises
    ------
    ValueError
        A block that nothing is known to fill.
    """

    def block(match: re.Match[str]) -> str:
        name = match[2]
        if name == "bars":
            body = bars(found)
        elif name == "demo":
            body = _demo(found)
        elif name not in _TABLES:
            raise ValueError(f"docs/benchmarks.md: no part {name!r}; there are {', '.join(['bars', 'demo', *_TABLES])}")
        elif name in found:
            body = f"{_origin(found[name])}\n\n{table(name, found[name]['figures'])}"
        else:
            body = f"*{NOT_MEASURED}*"
        return f"{match[1]}\n{body}\n\n{match[3]}"

    return _BLOCK.sub(block, text)


def table(part: str, figures: Mapping[str, Any]) -> str:
    """Return the table of one part."""
    return _TABLES[part](figures)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; all but the first are numbers."""
    width = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (cell.ljust(size) if at == 0 else cell.rjust(size) for at, (cell, size) in enumerate(zip(cells, width, strict=True)))
        return f"| {' | '.join([first, *rest])} |"

    rule = "|" + "|".join([f"{'-' * (width[0] + 2)}", *(f"{'-' * (size + 1)}:" for size in width[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _origin(document: Mapping[str, Any]) -> str:
    """Return where a table comes from, in one line."""
    on = document.get("machine")
    if on is None:
        return f"Measured {document['measured']}."
    busy = f", load average {on['load']} as it began" + (": a busy machine" if on["load"] > on["cpus"] else "")
    return (
        f"Measured {document['measured']} at commit {document['commit']}: {on['cpus']} CPUs, {on['system']}, Python {on['python']}{busy}."
    )


def _server(figures: Mapping[str, Any]) -> str:
    rows = figures["rows"]
    own = set(figures["ours"])
    base = next(row for row in rows if row["name"] == figures["ours"][0])
    lines = [
        [
            f"walkforward: {row['name']}" if row["name"] in own else row["name"],
            f"{row['cpu_ms']:.0f}",
            f"{row['cpu_ms'] / base['cpu_ms']:.2f}",
            f"{row['c1_p50_us'] / 1000:.2f}",
            f"{row['c1_p99_us'] / 1000:.2f}",
            f"{row['c16_rps']:,.0f}",
        ]
        for row in rows
    ]
    lines += [[name, "cannot be had here", "", "", "", ""] for name in figures["missing"]]
    head = ["server", "CPU-ms per 1,000", "× ours", "p50 ms, 1 connection", "p99 ms", "requests/s, 16 connections"]
    return _grid(head, lines)


def _trainer(figures: Mapping[str, Any]) -> str:
    base = next(fit for fit in figures["fits"] if fit["ours"])
    whole = figures["whole"]
    lines = [["walkforward: whole run", f"{whole['wall_s']:.1f}", f"{whole['cpu_s']:.1f}", "", f"{whole['peak_mb']:.0f}", ""]]
    for fit in figures["fits"]:
        ratio = f"{fit['cpu_s'] / base['cpu_s']:.1f}"
        lines.append(
            [f"fits: {fit['name']}", f"{fit['wall_s']:.1f}", f"{fit['cpu_s']:.1f}", ratio, f"{fit['peak_mb']:.0f}", f"{fit['auc']:.3f}"]
        )
    note = f"{figures['rows']:,} rows, {figures['features']} features, {figures['folds']} folds and the whole window, "
    note += f"{figures['trees']} trees of depth {figures['depth']}.\n\n"
    return note + _grid(["", "wall s", "CPU s", "CPU × ours", "peak MB", "out-of-fold AUC"], lines)


def _recipes(figures: Mapping[str, Any]) -> str:
    lines = []
    for name, text, peer in (
        ("three", "forest + XGBoost + linear → meta → isotonic, purged 5-fold", "the same fits alone, scikit-learn and XGBoost"),
        ("five", "five models, hold-out", "the same five fits alone, scikit-learn GradientBoosting"),
    ):
        part = figures[name]
        lines.append([f"walkforward: {text}: whole run", *_used(part["whole"], part["whole"])])
        lines.append([peer, *_used(part["peer"], part["whole"])])
    search, (base, *others) = figures["search"], figures["walks"]
    text = f"walkforward: {search['trials']:.0f} trials of 5 purged folds ({search['pruned']:.0f} stopped early)"
    lines.append([text, *_used(search, search)])
    lines += [[f"five blocks in time order: {one['name']}", *_used(one, base)] for one in (base, *others)]
    head = ["", "wall s", "× ours", "CPU s", "× ours", "peak MB", "AUC, unseen rows"]
    lines += [[f"{name}: cannot be had here ({why})", *[""] * (len(head) - 1)] for name, why in figures["missing"].items()]
    text = f"{figures['rows']:,} rows; {figures['features']} features, the five models {figures['five']['features']}.\n\n"
    text += _grid(head, lines)
    stages = sorted(figures["three"]["stages"].items(), key=lambda item: -item[1])
    shown = [f"{stage} {seconds:.1f} s" for stage, seconds in stages if seconds >= 0.05]
    fits = [f"{one['name']} {one['fits_s']:.1f} s" for one in (base, *others)]
    text += f"\n\nWhere the first run's wall time goes: {', '.join(shown)}; the rest is starting Python and its libraries."
    return f"{text} Of the five blocks, fits and answers alone: {', '.join(fits)}."


def _used(found: Mapping[str, float], base: Mapping[str, float]) -> list[str]:
    # four digits: two of the peers grow the same trees, two do not
    auc = f"{found['auc']:.4f}" if "auc" in found else ""
    times = [text for name in ("wall_s", "cpu_s") for text in (f"{found[name]:.1f}", f"{found[name] / base[name]:.1f}")]
    return [*times, f"{found['peak_mb']:.0f}", auc]


def _features(figures: Mapping[str, Any]) -> str:
    every = figures["everyFeature"]
    text = f"{figures['features']} features on {figures['bars']:,} bars: {figures['seconds']:.3f} s on one core; "
    text += f"all {every['features']} of the daily set: {every['seconds']:.3f} s.\n\n"
    curve = [
        [
            f"{one['bars']:,}",
            f"{one['seconds']:.2f}",
            f"{1e6 * one['seconds'] / one['bars']:.2f}",
            f"{whole['stages'][_last(whole)]['seconds']:.2f}",
            f"{1e6 * whole['stages'][_last(whole)]['seconds'] / one['bars']:.2f}",
            f"{whole['stages'][_last(whole)]['MiB']:.0f}",
        ]
        for one, whole in zip(figures["curve"], figures["reading"], strict=True)
    ]
    head = ["bars", f"{figures['features']} features, s", "µs a bar", "Parquet → quality → 18 features, s", "µs a bar", "peak MiB"]
    beside = [
        [one["name"], f"{one['oursMs']:.2f}", f"{one['talibMs']:.2f}", f"{one['oursMs'] / one['talibMs']:.1f}"]
        for one in figures["indicators"]
    ]
    return f"{text}{_grid(head, curve)}\n\n{_grid(['indicator', 'ours, ms', 'TA-Lib, ms', 'ours / TA-Lib'], beside)}"


def _last(found: Mapping[str, Any]) -> str:
    return str(list(found["stages"])[-1])


def _ticks(figures: Mapping[str, Any]) -> str:
    lines = [
        [f"the look, {figures['sampledTicks']:,.0f} ticks sampled", f"{figures['lookSeconds']:.3f}", f"{figures['lookShareOfBytes']:.1%}"],
        ["the look, with Python's imports", f"{figures['lookWithImportsSeconds']:.2f}", ""],
        ["all of them read and made bars", f"{figures['wholeSeconds']:.2f}", "100%"],
    ]
    return _grid([f"{figures['ticks']:,} ticks, {figures['fileMiB']:.0f} MiB of Parquet", "s", "of the bytes"], lines)


def _memory(figures: Mapping[str, Any]) -> str:
    tables = []
    for one in figures["runs"]:
        # what takes no time leaves what it found
        stages = [(name, stage) for name, stage in one["stages"].items() if stage["seconds"] >= SHOWN_SECONDS]
        lines = [[name, f"{stage['seconds']:.1f}", f"{stage['MiB']:,.0f}"] for name, stage in stages]
        lines.append([f"whole run: {one['verdict']}", f"{one['seconds']:.1f}", f"{one['MiB']:,.0f}"])
        head = f"`{one['recipe']}`, {figures['bars']:,} bars, {figures['fileMiB']:,} MiB of Parquet"
        said = f"{one['leftOut'][:1].upper()}{one['leftOut'][1:]}.\n\n" if one["leftOut"] else ""
        tables.append(f"{said}{_grid([head, 's', 'MiB at most'], lines)}\n\n{one['cpuSeconds']:.0f} s of CPU.")
    return "\n\n".join(tables)


def _edge(figures: Mapping[str, Any]) -> str:
    lines = []
    for one in figures["recipes"]:
        without, planted = one["withoutEdge"], one["withEdge"]
        rejected = f"{1 - without['published']:.1%} of {without['seeds']}"
        lines.append(
            [f"`{one['recipe']}`", one["note"], rejected, f"{without['upTo']:.2%}", f"{planted['published']:.0%} of {planted['seeds']}"]
        )
    lines += [[f"`{name}`", "", NOT_MEASURED, NOT_MEASURED, NOT_MEASURED] for name in figures.get("missing", ())]
    head = ["recipe, its default gates", "a market", "no edge: rejected", "published, at most (95 %)", "planted edge: published"]
    return _grid(head, lines)


def _operator(figures: Mapping[str, Any]) -> str:
    number = f"{figures['objects']:,}"
    lines = [
        ["memory at rest (RSS)", f"{figures['rss_mb']:.0f} MB"],
        ["CPU at rest", f"{figures['idle_cpu_percent']:.1f} %"],
        ["writes to the Lease at rest", f"{figures['lease_writes_min']:.1f} per minute"],
        ["other writes at rest", f"{figures['other_writes_min']:.1f} per minute"],
        ["reads at rest", f"{figures['reads_min']:.1f} per minute"],
        ["start to everything seen, nothing known", f"{figures['cold_s']:.1f} s"],
        ["after that, until nothing but the Lease is written", f"{figures['quiet_s']:.0f} s"],
        ["change → seen in status, p50", f"{figures['observed_p50_ms']:.0f} ms"],
        ["change → seen in status, p99", f"{figures['observed_p99_ms']:.0f} ms"],
        [f"{figures['edits']} changes at once", f"{figures['burst_s']:.1f} s"],
        [f"killed, {figures['edits']} changes, started: everything seen", f"{figures['restart_s']:.1f} s"],
        ["memory after that (RSS)", f"{figures['rss_after_mb']:.0f} MB"],
    ]
    return _grid([f"{number} rollouts and {number} retrains", "operator"], lines)


def _images(figures: Mapping[str, Any]) -> str:
    lines = [[part, f"{size['unpacked_mb']:.0f}", f"{size['compressed_mb']:.0f}"] for part, size in figures["images"].items()]
    return _grid(["image", "MB, unpacked", "MB, compressed"], lines)


def _abort(figures: Mapping[str, Any]) -> str:
    lines = []
    for scenario in figures["scenarios"]:
        took = _latency(scenario)
        what = "order → last pod" if "orderToEveryPodMs" in scenario else "decided → verified"
        lines.append([scenario["scenario"], scenario.get("reason", "Aborted"), what, str(scenario["pods"]), f"{took:,} ms"])
    return _grid(["scenario", "reason", "from → to", "pods", "took"], lines)


def _demo(found: Kept) -> str:
    lines = []
    for name, text in (("demo-cold", "cold: binaries and images built"), ("demo-warm", "warm: nothing built")):
        document = found.get(name)
        took = f"{document['figures']['seconds']:.0f} s" if document else NOT_MEASURED
        origin = f"{document['measured']}, commit {document['commit']}, load {document['machine']['load']}" if document else ""
        lines.append([text, took, origin])
    return _grid(["`make demo`", "took", "measured"], lines)


def _latency(scenario: Mapping[str, Any]) -> int:
    """Return the milliseconds of one way back."""
    return int(scenario.get("orderToEveryPodMs", scenario.get("decidedToVerifiedMs", 0)))


_TABLES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "server": _server,
    "trainer": _trainer,
    "recipes": _recipes,
    "features": _features,
    "ticks": _ticks,
    "operator": _operator,
    "images": _images,
    "memory": _memory,
    "edge": _edge,
    "abort": _abort,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What we hold ourselves to: the part it is of, a text, how its value is read, the limit, and whether more is better."""

    part: str
    text: str
    value: Callable[[Mapping[str, Any]], float | None]
    limit: float
    unit: str = ""
    more: bool = False

    def judge(self, figures: Mapping[str, Any] | None) -> list[str]:
        """Return the cells: text, bar, measured, verdict."""
        found = None if figures is None else self.value(figures)
        asked = f"{'≥' if self.more else '≤'} {self.limit:g}{self.unit}"
        if found is None:
            return [self.text, asked, NOT_MEASURED, "–"]
        met = found >= self.limit if self.more else found <= self.limit
        return [
            self.text,
            asked,
            f"{found:.3g}{self.unit}" if abs(found) < 1000 else f"{found:.0f}{self.unit}",
            "met" if met else "**not met**",
        ]


def _against_mlserver(case: int) -> Callable[[Mapping[str, Any]], float | None]:
    def ratio(figures: Mapping[str, Any]) -> float | None:
        rows = {row["name"]: row for row in figures["rows"]}
        peer = next((row for name, row in rows.items() if name.startswith("MLServer")), None)
        return None if peer is None else peer["cpu_ms"] / rows[figures["ours"][case]]["cpu_ms"]

    return ratio


def _p99_against_best(figures: Mapping[str, Any]) -> float | None:
    """Return our worst p99 as a share of the best peer's."""
    own = [row["c1_p99_us"] for row in figures["rows"] if row["name"] in figures["ours"]]
    peers = [row["c1_p99_us"] for row in figures["rows"] if row["name"] not in figures["ours"]]
    return max(own) / min(peers) if peers else None


def _at(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    def value(figures: Mapping[str, Any]) -> float | None:
        return float(figures[name])

    return value


def _at_scale(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return a reader that knows no value below a thousand objects: the bar is about a thousand."""

    def value(figures: Mapping[str, Any]) -> float | None:
        return float(figures[name]) if figures["objects"] >= 1000 else None

    return value


def _recipe(*path: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return a reader that knows no value of fewer rows than ninety days of five-minute bars have."""

    def value(figures: Mapping[str, Any]) -> float | None:
        found: Any = figures
        for name in path:
            found = found[name]
        return float(found) if figures["rows"] >= 25_920 else None

    return value


def _trials(figures: Mapping[str, Any]) -> float | None:
    return _recipe("search", "wall_s")(figures) if figures["search"]["trials"] >= 100 else None


def _growth(figures: Mapping[str, Any]) -> float | None:
    """Return what a bar above a million costs, up to five, as a multiple of one below; the worse of both curves."""
    features = {one["bars"]: one["seconds"] for one in figures["curve"]}
    reading = {one["bars"]: one["stages"][_last(one)]["seconds"] for one in figures["reading"]}
    sizes = (100_000, 1_000_000, 5_000_000)
    if not all(set(sizes) <= curve.keys() for curve in (features, reading)):
        return None

    def growth(curve: Mapping[int, float]) -> float:
        few, many, most = (curve[size] for size in sizes)
        return ((most - many) / (sizes[2] - sizes[1])) / ((many - few) / (sizes[1] - sizes[0]))

    return max(growth(features), growth(reading))


def _peak(figures: Mapping[str, Any]) -> float | None:
    """Return the largest memory of any whole run; a smaller one, or one without a bundle, does not pass for fifty million bars."""
    whole = figures["bars"] >= 50_000_000 and all(one["verdict"] == "Published" for one in figures["runs"])
    return max(float(one["MiB"]) for one in figures["runs"]) if whole else None


def _rejected(figures: Mapping[str, Any]) -> float | None:
    """Return the share that the worst recipe rejects at least, with 95 % confidence: few markets prove little, a missing recipe nothing."""
    if figures.get("missing"):
        return None
    return min((1.0 - one["withoutEdge"]["upTo"] for one in figures["recipes"]), default=None)


def _slowest_abort(figures: Mapping[str, Any]) -> float | None:
    return max((_latency(scenario) / 1000 for scenario in figures["scenarios"]), default=None)


BARS: Final = (
    Bar("server", "server, one model: requests per CPU-second against MLServer", _against_mlserver(0), 14, "×", more=True),
    Bar("server", "server, candidate in the shadow, prices: the same", _against_mlserver(1), 10, "×", more=True),
    Bar("server", "server, candidate in the shadow, receipts: the same", _against_mlserver(2), 10, "×", more=True),
    Bar("server", "server: our slowest case's p99 against the best peer's", _p99_against_best, 1, "×"),
    Bar("recipes", "trainer: three models, meta, isotonic, purged 5-fold, whole run", _recipe("three", "whole", "wall_s"), 20, " s"),
    Bar("recipes", "trainer: five models, whole run", _recipe("five", "whole", "wall_s"), 5, " s"),
    Bar("recipes", "trainer: 100 trials of 5 folds", _trials, 90, " s"),
    Bar("features", "trainer: 40 features on 100,000 bars", _at("seconds"), 0.5, " s"),
    Bar("features", "trainer: what one more bar costs above a million, against below", _growth, 1.5, "×"),
    Bar("ticks", "trainer: first look at 10 million ticks", _at("lookSeconds"), 0.5, " s"),
    Bar("memory", "trainer: memory of 50 million bars, whole run", _peak, 8192, " MiB"),
    Bar("edge", "trainer: markets without an edge that are rejected, at least (95 %), worst recipe", _rejected, 0.99, more=True),
    Bar("operator", "operator: memory at rest", _at_scale("rss_mb"), 120, " MB"),
    Bar("operator", "operator: writes to the Lease at rest", _at_scale("lease_writes_min"), 12, "/min"),
    Bar("operator", "operator: other writes at rest", _at_scale("other_writes_min"), 0, "/min"),
    Bar("operator", "operator: reads at rest", _at_scale("reads_min"), 0, "/min"),
    Bar("operator", "operator: start to everything seen", _at_scale("cold_s"), 15, " s"),
    Bar("operator", "operator: change → seen, p99", _at_scale("observed_p99_ms"), 110, " ms"),
    Bar("operator", "operator: 200 changes at once", _at_scale("burst_s"), 5, " s"),
    Bar("operator", "operator: killed, started: everything seen", _at_scale("restart_s"), 5, " s"),
    Bar("abort", "abort: slowest way back of the end-to-end tests", _slowest_abort, 3, " s"),
    Bar("demo-cold", "demo, cold", _at("seconds"), 900, " s"),
    Bar("demo-warm", "demo, warm", _at("seconds"), 240, " s"),
)


def bars(found: Kept) -> str:
    """Return the table of bars and whether each is met."""
    rows = [bar.judge(found[bar.part]["figures"] if bar.part in found else None) for bar in BARS]
    return _grid(["what", "bar", "measured", ""], rows)
