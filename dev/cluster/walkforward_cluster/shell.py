"""Running a command to its end, with an error that carries the command's own words."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from walkforward_cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 15


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    hint: str = "see the output above",
) -> subprocess.CompletedProcess[str]:
    """Run `command` and return it with its output; where `check` holds, a non-zero exit is a ClusterError."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, env=env, cwd=cwd, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"cannot run {words[0]}", reason="it is not installed", next_step=hint) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(words)}` did not end", reason=f"{timeout} s passed", next_step=hint) from error
    if check and done.returncode != 0:
        raise ClusterError(
            f"`{' '.join(words)}` failed", reason=tail(done.stderr or done.stdout) or f"exit {done.returncode}", next_step=hint
        )
    return done


def run_logged(
    command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None, hint: str
) -> None:
    """Run a long command with its output in a file; the file's end is quoted where the command fails."""
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        try:
            code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=cwd, check=False).returncode
        except FileNotFoundError as error:
            raise ClusterError(f"cannot run {words[0]}", reason="it is not installed", next_step=hint) from error
    if code != 0:
        raise ClusterError(f"`{' '.join(words[:4])} …` failed (log: {log})", reason=tail(log.read_text(errors="replace")), next_step=hint)


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of an output, which is where programs say what went wrong."""
    return "\n".join(text.strip().splitlines()[-lines:])
