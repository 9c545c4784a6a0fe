"""Command line: ``walkforward-trainer run --spec FILE``, in the Job and on a laptop alike."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import json
from msgspec.structs import replace

from walkforward_core.names import RUN_CONFIG_PATH
from walkforward_core.objectstore import open_store
from walkforward_core.runs import ResultDocument, RunMode, RunPart, RunVerdict
from walkforward_trainer.errors import BadConfiguration, Reason, RunError
from walkforward_trainer.logs import logging_to_stderr
from walkforward_trainer.pipeline import execute
from walkforward_trainer.result import exit_code, termination_message, termination_path
from walkforward_trainer.specfile import load_all
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from walkforward_core.runs import ExitCode, RunDocument
    from walkforward_trainer.logs import RunLog

__all__ = ["main"]

FILE_VARIABLE = "WALKFORWARD_ALLOW_FILE"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
LEVELS = {RunVerdict.FAILED: logging.ERROR, RunVerdict.REJECTED: logging.WARNING}
log = logging.getLogger("walkforward.trainer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (contract C8)."""
    options = _parser().parse_args(arguments)
    if options.command != "run":
        return _aside({"list": _list, "keep": _keep, "download": _download}[options.command], options)
    try:
        with logging_to_stderr() as lines:
            return _main(options, lines)
    except RunError as error:
        result, code = _refused(error)
        _tell(result, os.environ)
        return int(exit_code(result, code))


def _aside(command: Callable[[argparse.Namespace], str], options: argparse.Namespace) -> int:
    """Print what ``command`` has to say: it is no run, so there is neither a result nor a termination message."""
    try:
        print(command(options))
    except RunError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        return int(error.code)
    return 0


def _list(options: argparse.Namespace) -> str:
    """Return the versions below an address."""
    from walkforward_trainer.registry import Registry, table  # noqa: PLC0415 - a run needs none of it

    with store_errors("--artifacts"):
        store = open_store(options.artifacts, allow_file=_allows_file(options))
        entries = Registry(store, options.artifacts).versions()
    return json.format(json.encode(entries), indent=2).decode() if options.json else table(entries)


def _keep(options: argparse.Namespace) -> str:
    """Keep a version for ever."""
    from walkforward_trainer.registry import Registry  # noqa: PLC0415 - a run needs none of it

    with store_errors("--artifacts"):
        store = open_store(options.artifacts, allow_file=_allows_file(options))
        Registry(store, options.artifacts).keep(options.version, reason=options.reason)
    return f"{options.version} is kept: retention passes it by"


def _download(options: argparse.Namespace) -> str:
    """Fetch bars from an exchange."""
    from walkforward_trainer.download import fetch_bars  # noqa: PLC0415 - a run needs none of it

    with logging_to_stderr():
        return str(fetch_bars(options, allow_file=_allows_file(options)))


def _allows_file(options: argparse.Namespace) -> bool:
    return bool(options.allow_file) or os.environ.get(FILE_VARIABLE) == "1"


def _main(options: argparse.Namespace, lines: RunLog) -> int:
    """Run what the file holds, one after the other, and return the largest exit code."""
    now_ms = time.time_ns() // 1_000_000
    try:
        runs = [_asked(run, options) for run in load_all(options.spec, now_ms=now_ms, name=options.name)]
        shards = [_shard(run, os.environ) for run in runs]
    except RunError as error:
        log.error("%s: %s", error.reason, error)  # noqa: TRY400 - the message says all; a trace is for bugs
        return _ended(*_refused(error))
    return max(_run(run, shard, options, lines, now_ms) for run, shard in zip(runs, shards, strict=True))


def _run(run: RunDocument, shard: int, options: argparse.Namespace, lines: RunLog, now_ms: int) -> int:
    lines.of(run.run, f"{run.retrain.namespace}/{run.retrain.name}")
    log.info("run of %s as of %s, mode %s", lines.retrain, run.as_of, run.mode)
    return _ended(*execute(run, allow_file=_allows_file(options), now_ms=now_ms, shard=shard))


def _ended(result: ResultDocument, code: ExitCode | None) -> int:
    """Tell how a run ended and return its exit code."""
    _tell(result, os.environ)
    spent = {"cpuSeconds": round(time.process_time(), 3), "peakMiB": _peak_mib(), "reason": result.reason}
    why = "" if result.verdict is RunVerdict.PUBLISHED or not result.message else f": {result.message}"
    said = "%s (%s)%s; %.1f s of CPU, at most %d MiB of memory"
    log.log(
        LEVELS.get(result.verdict, logging.INFO),
        said,
        result.verdict,
        result.reason,
        why,
        spent["cpuSeconds"],
        spent["peakMiB"],
        extra={"fields": spent},
    )
    return int(exit_code(result, code))


def _refused(error: RunError) -> tuple[ResultDocument, ExitCode]:
    return ResultDocument(run="", verdict=RunVerdict.FAILED, reason=error.reason, message=str(error)), error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="walkforward-trainer", description="Train, judge and publish one model bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="one run, from bars to bundle")
    run.add_argument(
        "--spec", type=Path, default=Path(RUN_CONFIG_PATH), help="run.json of a Job, or ModelRetrains as YAML (default: %(default)s)"
    )
    run.add_argument("--name", default="", help="of several ModelRetrains in the file, the one to run (default: one after the other)")
    mode = run.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="stop after eligibility: is there enough to train on?")
    mode.add_argument("--smoke", "--smoke-test", action="store_true", help="a reduced model through every stage, nothing published")
    mode.add_argument("--calibrate", action="store_true", help="measure what execution has cost, from closed trades; nothing is trained")
    run.add_argument("--force", action="store_true", help="train even where eligibility says no; gates stay as they are")
    run.add_argument("--allow-file", action="store_true", help=f"allow file:// addresses, on a laptop (also {FILE_VARIABLE}=1)")
    listing = commands.add_parser("list", help="the published versions, with what a rollout's source.bundle takes to be pinned to one")
    listing.add_argument("--artifacts", required=True, metavar="URI", help="spec.artifacts.uri of the ModelRetrain")
    listing.add_argument("--json", action="store_true", help="everything, as JSON")
    listing.add_argument("--allow-file", action="store_true", help=f"allow file:// addresses (also {FILE_VARIABLE}=1)")
    keep = commands.add_parser("keep", help="keep a published version for ever, also one that retention has marked")
    keep.add_argument("version", help="as list prints it")
    keep.add_argument("--artifacts", required=True, metavar="URI", help="spec.artifacts.uri of the ModelRetrain")
    keep.add_argument("--reason", required=True, help="why; it is written beside the bundle")
    keep.add_argument("--allow-file", action="store_true", help=f"allow file:// addresses (also {FILE_VARIABLE}=1)")
    bars = commands.add_parser(
        "download", help="bars from an exchange by ccxt, as Parquet in date partitions; goes on where it was cut off"
    )
    bars.add_argument("--exchange", required=True, help="as ccxt writes it: binance, kraken, okx")
    bars.add_argument("--symbol", required=True, help="as ccxt writes it: BTC/USDT, BTC/USDT:USDT")
    bars.add_argument("--timeframe", required=True, help="1m, 5m, 1h, 1d")
    bars.add_argument("--since", required=True, metavar="TIME", help="2026-01-31, or 2026-01-31T13:00:00Z")
    bars.add_argument("--until", metavar="TIME", help="the same; bars that open before it (default: the newest that has closed)")
    bars.add_argument("--to", required=True, metavar="URI", help="s3://bucket/prefix, one for each timeframe")
    bars.add_argument("--settings", type=Path, metavar="FILE", help="JSON with settings of ccxt: proxies, options, urls")
    bars.add_argument("--allow-file", action="store_true", help=f"allow file:// addresses (also {FILE_VARIABLE}=1)")
    return parser


def _asked(run: RunDocument, options: argparse.Namespace) -> RunDocument:
    """Return the run as the command line changes it."""
    if options.dry_run:
        run = replace(run, mode=RunMode.DRY_RUN)
    if options.smoke:
        run = replace(run, mode=RunMode.SMOKE)
    if options.calibrate:
        run = replace(run, mode=RunMode.CALIBRATE)
    return replace(run, force=run.force or options.force)


def _shard(run: RunDocument, env: Mapping[str, str]) -> int:
    """Return which symbol this pod of an Indexed Job prepares; 0 where the run is not in parts."""
    if run.part is not RunPart.SHARD:
        return 0
    index, symbols = env.get(INDEX_VARIABLE, ""), run.spec.data.symbols
    if not index.isdigit() or int(index) >= len(symbols):
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"{INDEX_VARIABLE} is {index!r}, and data.symbols has {len(symbols)}; a shard runs as a pod of the operator's Indexed Job",
        )
    return int(index)


def _peak_mib() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _tell(result: ResultDocument, env: Mapping[str, str]) -> None:
    """Write the termination message where the kubelet reads it, and the same to the terminal."""
    message = termination_message(result)
    path = termination_path(env)
    if path is not None:
        try:
            path.write_bytes(message)
        except OSError as error:
            log.warning("termination message not written to %s: %s; result.json has it", path, error.strerror)
    print(message.decode())


if __name__ == "__main__":
    sys.exit(main())
