"""The stages of ``make test``: what runs in which order, what runs beside it, and how long each took.

Binaries and images build in the background while lint, types and unit tests run; integration waits for the binaries, end to end
for the images too. Every stage runs, also after a failure; the exit status is 1 if any failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
BIN = Path(PYTHON).parent
PACKAGES = [
    "core/walkforward_core",
    "operator/walkforward_operator",
    "trainer/walkforward_trainer",
    "server/walkforward_server",
    "dev/cluster/walkforward_cluster",
    "dev/demo/walkforward_demo",
]
MOST_TRIED_AGAIN = 2
UNIT = ["tests/core", "tests/operator", "tests/trainer", "tests/server", "tests/cluster", "tests/repository"]


@dataclass(slots=True)
class Background:
    """A build that runs beside the first stages; its output goes to a file that is shown when it failed."""

    name: str
    command: list[str]
    log: Path
    seconds: float = 0.0
    status: int | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        with self.log.open("wb") as log:
            self.status = subprocess.run(self.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        self.seconds = time.monotonic() - began

    def wait(self) -> bool:
        """Return whether it succeeded, once it has ended."""
        print(f"--- waiting for {self.name}", flush=True)
        self.thread.join()
        print(self.log.read_text(errors="replace")[-6000:], flush=True)
        return self.status == 0


@dataclass(slots=True)
class Run:
    """One run of stages and what became of each."""

    results: list[tuple[str, float, bool]] = field(default_factory=list)

    def stage(self, name: str, work: Callable[[], bool]) -> bool:
        """Do ``work``, note time and result, return the result."""
        print(f"\n=== {name}", flush=True)
        began = time.monotonic()
        passed = work()
        self.results.append((name, time.monotonic() - began, passed))
        print(f"=== {name}: {'passed' if passed else 'FAILED'} in {self.results[-1][1]:.0f} s", flush=True)
        return passed

    def report(self) -> int:
        """Print the table of stages, return the exit status."""
        print("\n=== stages")
        for name, seconds, passed in self.results:
            print(f"{name:<24}{seconds:>7.0f} s  {'passed' if passed else 'FAILED'}")
        print(f"{'in all':<24}{sum(seconds for _, seconds, _ in self.results):>7.0f} s", flush=True)
        return 0 if all(passed for _, _, passed in self.results) else 1


def command(*words: str | Path, **environment: str) -> bool:
    """Run a command in the repository's root, return whether it succeeded."""
    environ = {**os.environ, **environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run([str(word) for word in words], cwd=ROOT, env=environ, check=False).returncode == 0


def lint() -> bool:
    """Ruff, import-linter, drift of generated files."""
    return all(
        [
            command("ruff", "format", "--check", "."),
            command("ruff", "check", "."),
            command("lint-imports", "--no-cache"),
            command(PYTHON, "-m", "walkforward_operator.schema", "--check"),
        ]
    )


def types() -> bool:
    """Mypy, strict, over every package."""
    bench = ["dev/bench/run.py", "dev/bench/server.py", "dev/bench/operator_scale.py", "dev/bench/walkforward_bench"]
    return command("mypy", *PACKAGES, "tests/support", "dev/stages.py", *bench)


def pytest(*words: str) -> bool:
    """Run pytest."""
    return command(PYTHON, "-m", "pytest", "-q", *words)


def on_real_parts(*words: str) -> bool:
    """Run pytest on real processes and real clocks: one or two that failed are tried once more, alone, and named aloud if that helped."""
    known = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    known.unlink(missing_ok=True)
    if pytest(*words):
        return True
    failed = list(json.loads(known.read_text())) if known.exists() else []
    if not 0 < len(failed) <= MOST_TRIED_AGAIN:
        return False
    print(f"\n=== trying once more: {', '.join(failed)}", flush=True)
    passed = pytest(*words, "--last-failed")
    if passed:
        print(f"=== PASSED ONLY AT THE SECOND TRY, look into it: {', '.join(failed)}", flush=True)
    return passed


def unit() -> bool:
    """Unit and property tests, and the examples in docstrings."""
    return pytest(
        "-n", "2", "--dist", "loadfile", "-m", "not integration and not e2e",
        "--doctest-modules", *PACKAGES[:4], *UNIT,
    )  # fmt: skip


def integration() -> bool:
    """Tests against a real API server."""
    return on_real_parts("-m", "integration", "--timeout=300", "tests/integration")


def e2e() -> bool:
    """Tests in pods: several scenarios at once; those that take the API server or the store away wait for the others to end."""
    return on_real_parts("-m", "e2e", "-n", "3", "--dist", "load", "--maxschedchunk", "1", "tests/e2e")


def test() -> int:
    """Run everything."""
    work = ROOT / ".work"
    work.mkdir(exist_ok=True)
    cluster = [PYTHON, "-m", "walkforward_cluster"]
    binaries = Background("binaries", [*cluster, "build"], work / "binaries.log")
    run = Run()
    run.stage("lint", lint)
    run.stage("types", types)
    run.stage("unit", unit)
    if run.stage("binaries", binaries.wait):
        images = Background("images", [*cluster, "images", "build"], work / "images.log")
        run.stage("integration", integration)
        if run.stage("images", images.wait):
            run.stage("end to end", e2e)
    return run.report()


def main() -> int:
    """Run the stage that was asked for."""
    stages = {"lint": lint, "types": types, "unit": unit, "integration": integration, "e2e": e2e}
    name = sys.argv[1] if len(sys.argv) > 1 else "test"
    if name == "test":
        return test()
    if name not in stages:
        print(f"stages: no stage {name!r}; there are {', '.join([*stages, 'test'])}", file=sys.stderr)
        return 2
    return 0 if stages[name]() else 1


if __name__ == "__main__":
    sys.exit(main())
