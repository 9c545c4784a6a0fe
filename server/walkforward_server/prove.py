"""The child process in which a bundle is fetched, verified and tried before the server touches it.

``python -m walkforward_server.prove``, with a :class:`Task` as JSON on standard input and a :class:`Report` as the last line of standard
output. Whatever a model does to its process (aborts, eats memory, never returns) it does here first, within resource limits.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from walkforward_core.errors import Forbidden, StoreError, Unavailable, WalkforwardError
from walkforward_core.routing import ModelRef

if TYPE_CHECKING:
    from walkforward_server.model import Model

__all__ = ["PROOF_RUNS", "Report", "Task", "main", "report"]

PROOF_RUNS = 200


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to prove; limits in bytes and CPU seconds; ``nice`` keeps a proof from the serving process's way."""

    ref: ModelRef
    state: str
    roots: tuple[str, ...]
    allow_file: bool
    memory: int
    cpu_seconds: int
    nice: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; ``retry`` when the object store may deliver later; ``median_us`` of one row."""

    ok: bool
    retry: bool = False
    reason: str = ""
    message: str = ""
    median_us: float = 0.0


def main() -> int:
    """Prove the bundle of the task on standard input; the exit status is 0 whenever a report was written."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_seconds, task.cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (task.memory, task.memory))
    os.nice(task.nice)
    sys.stdout.buffer.write(msgspec.json.encode(report(task)) + b"\n")
    return 0


def report(task: Task) -> Report:
    """Prove in this process; whatever goes wrong is in the report."""
    try:
        return Report(ok=True, median_us=_prove(task))
    except Unavailable as error:
        return Report(ok=False, retry=True, reason="StoreUnavailable", message=str(error))
    except Forbidden as error:
        return Report(ok=False, reason="Forbidden", message=str(error))
    except StoreError as error:
        return Report(ok=False, retry=True, reason=type(error).__name__, message=str(error))
    except WalkforwardError as error:
        return Report(ok=False, reason=type(error).__name__, message=str(error))
    except Exception as error:  # noqa: BLE001 - the model is foreign code: whatever it raises is the answer
        return Report(ok=False, reason="ProofFailed", message=f"{type(error).__name__}: {error}")


def _prove(task: Task) -> float:
    """Return the median time of one row in microseconds, over :data:`PROOF_RUNS` runs of the golden rows."""
    # imported under the limits set above
    from walkforward_core.objectstore import open_store, within  # noqa: PLC0415
    from walkforward_server import bundles  # noqa: PLC0415
    from walkforward_server.model import Model  # noqa: PLC0415

    if not task.ref.uri.startswith("file://") and not within(task.ref.uri, task.roots):
        raise Forbidden(f"bundle {task.ref.uri} is below none of the allowed roots {list(task.roots)}; set WALKFORWARD_BUNDLE_ROOTS")
    state = Path(task.state)
    store = open_store(task.ref.uri, allow_file=task.allow_file)
    bundle = bundles.obtain(store, task.ref, state)
    model = Model(bundle.content, bundle.manifest, bundle.reference, bundle.digest)
    bundles.check_golden(model, bundle.golden)
    return _median_us(model, bundle.golden.x)


def _median_us(model: Model, rows: tuple[tuple[float | None, ...], ...]) -> float:
    packed = [struct.pack(f"<{model.width}f", *(0.0 if value is None else value for value in row)) for row in rows]
    times = []
    for run in range(PROOF_RUNS):
        begin = time.perf_counter()
        model.score(packed[run % len(packed)])
        times.append(time.perf_counter() - begin)
    return sorted(times)[PROOF_RUNS // 2] * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
