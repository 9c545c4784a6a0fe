"""Running a proof (:mod:`walkforward_server.prove`) beside the serving process, with an end to its patience."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from walkforward_server.config import TOKEN_VARIABLE
from walkforward_server.prove import Report, Task

if TYPE_CHECKING:
    from walkforward_core.routing import ModelRef
    from walkforward_server.config import Settings

__all__ = ["prove", "task_of"]

NICE = 10


def task_of(settings: Settings, ref: ModelRef, *, trial: bool) -> Task:
    """Return what the child is to prove, within which limits."""
    return Task(
        ref=ref,
        state=str(settings.state),
        roots=settings.roots,
        allow_file=settings.allow_file,
        memory=settings.proof_memory,
        cpu_seconds=max(1, round(settings.proof_s)),
        nice=NICE if trial else 0,
    )


async def prove(settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
    """Fetch, verify and try a bundle in a process of its own; a trial gives way to the serving process."""
    task = task_of(settings, ref, trial=trial)
    environment = {key: value for key, value in os.environ.items() if key != TOKEN_VARIABLE}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "walkforward_server.prove",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(msgspec.json.encode(task)), settings.proof_s)
    except TimeoutError:
        return Report(
            ok=False, reason="ProofTimeout", message=f"not proven within {settings.proof_s:g} s; raise --proof-seconds if it is large"
        )
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return _read(child.returncode, out, err)


def _read(status: int | None, out: bytes, err: bytes) -> Report:
    """Return the child's word; one that ended without any died of the model."""
    lines = out.splitlines()
    if status == 0 and lines:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(lines[-1], type=Report)
    tail = err.decode(errors="replace").strip().splitlines()[-3:]
    died = signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
    return Report(ok=False, reason="ProofDied", message=f"the process that proved it ended with {died}: {' | '.join(tail)}"[:500])
