"""Daemons known by a record (pid and start time), so that a reused pid is never taken for one of ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.shell import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STARTTIME_FIELD = 19  # of /proc/PID/stat, counted after the command's closing bracket
_PPID_FIELD = 1
_FORK_S = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """A started process: what it is, and what tells it from a later process with the same pid."""

    name: str
    pid: int
    start_time: int
    boot_id: str

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return self.boot_id == boot_id() and start_time(self.pid) == self.start_time


def boot_id() -> str:
    """Start times count from boot, so a record is only good within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """The process's start in clock ticks since boot; None where it is gone or a zombie."""
    fields = stat_fields(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    return int(fields[_STARTTIME_FIELD])


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command name, which may itself hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        fields = stat_fields(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None and int(fields[_PPID_FIELD]) == pid:
            found.append(int(entry.name))
    return sorted(found)


def record_of(name: str, pid: int) -> Record:
    """The record of a running process."""
    started = start_time(pid)
    if started is None:
        raise ClusterError(f"{name} ended at once", reason=f"pid {pid} is gone", next_step="read its log")
    return Record(name, pid, started, boot_id())


@dataclass(frozen=True, slots=True)
class Daemons:
    """The daemons of one cluster: records in `<state>/pids`, logs in `<state>/logs`."""

    state: Path

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        forks: bool = False,
    ) -> Record:
        """Start `prefix + command` in a session of its own; it outlives this process. An old record is replaced.

        `forks`: the prefix forks (as entering a pid namespace does), so the daemon is the child of what is started here.
        """
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [*prefix, *(str(word) for word in command)]
        with log.open("ab") as sink:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd="/",
                start_new_session=True,
                env=None if env is None else dict(env),
            )
        pid = self._child_of(name, child) if forks else child.pid
        _disown(child)
        return self.remember(record_of(name, pid))

    def _child_of(self, name: str, parent: subprocess.Popen[bytes]) -> int:
        if not wait_until(lambda: parent.poll() is not None or bool(children(parent.pid)), _FORK_S) or parent.poll() is not None:
            raise ClusterError(f"{name} did not start", reason=self.last_words(name), next_step=f"read {self.log(name)}")
        return children(parent.pid)[0]

    def remember(self, record: Record) -> Record:
        """Write a record, at once and whole."""
        path = self.state / "pids" / f"{record.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(path)
        return record

    def records(self) -> list[Record]:
        """Everything that was ever started here and not yet stopped by us."""
        found = sorted((self.state / "pids").glob("*.json"))
        return [Record(**json.loads(path.read_text())) for path in found]

    def record(self, name: str) -> Record | None:
        """The record of one daemon."""
        return next((record for record in self.records() if record.name == name), None)

    def alive(self, name: str) -> bool:
        """Whether a daemon runs."""
        record = self.record(name)
        return record is not None and record.alive()

    def stop(self, name: str, *, grace: float = 10.0, kill: bool = False) -> None:
        """End one daemon: asked first (unless `kill`), forced after `grace` seconds; then its record goes."""
        record = self.record(name)
        if record is None:
            return
        if record.alive():
            _signal(record, signal.SIGKILL if kill else signal.SIGTERM)
            if not wait_until(lambda: not record.alive(), grace):
                _signal(record, signal.SIGKILL)
                if not wait_until(lambda: not record.alive(), grace):
                    raise ClusterError(
                        f"{name} (pid {record.pid}) does not end", reason="not even by SIGKILL", next_step="look at its state in /proc"
                    )
        reap()
        (self.state / "pids" / f"{name}.json").unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """The log file of a daemon."""
        return self.state / "logs" / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The end of a daemon's log."""
        path = self.log(name)
        return tail(path.read_text(errors="replace")) if path.exists() else "no log"


_STARTED: list[int] = []


def _disown(child: subprocess.Popen[bytes]) -> None:
    """Daemons outlive us by design: told so, subprocess does not warn at exit; `reap` collects those that end before us."""
    if child.returncode is None:
        child.returncode = 0
        _STARTED.append(child.pid)


def reap() -> None:
    """Collect our daemons that have ended, lest they stay zombies of a long-lived test process."""
    _STARTED[:] = [pid for pid in _STARTED if not _reaped(pid)]


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # somebody else's wait was first


def _signal(record: Record, number: signal.Signals) -> None:
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return  # it ended between the look and the signal, which is what was wanted


def wait_until(condition: Callable[[], bool], timeout: float, *, every: float = 0.05) -> bool:
    """Poll until `condition` holds; False where it did not in time."""
    deadline = time.monotonic() + timeout
    while True:
        reap()
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
