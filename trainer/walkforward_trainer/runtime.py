"""ONNX Runtime as the server runs it: one thread, on the processor, nothing sent anywhere."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["latency_us", "open_session", "run", "run_all", "runtime"]

SINGLE_ROWS: Final = 500
BLOCK: Final = 1 << 16
"""Rows that a graph is asked for at once."""


def runtime() -> Any:
    """Return the module ``onnxruntime``, imported with its telemetry switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, at import
    import onnxruntime  # noqa: PLC0415 - after the switch

    return onnxruntime


def run(model: bytes, x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Return the model's first output for rows ``x`` (n, features)."""
    return run_all(model, x, [])[0]


def run_all(model: bytes, x: npt.NDArray[np.float32], names: Sequence[str]) -> list[npt.NDArray[Any]]:
    """Return the outputs ``names`` for rows ``x`` (n, features); every output where none is named.

    Many rows are asked for block by block: a graph's own values take a thousand bytes a row.
    """
    session = open_session(model)
    entry = session.get_inputs()[0].name
    blocks: list[list[npt.NDArray[Any]]] = [
        session.run(list(names) or None, {entry: x[first : first + BLOCK]}) for first in range(0, max(len(x), 1), BLOCK)
    ]
    # copies, of a single block too: an answer of ONNX Runtime keeps all that its session has taken
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def latency_us(model: bytes, x: npt.NDArray[np.float32]) -> float:
    """Return the median time in microseconds of scoring one row of ``x`` by the first output, tensors bound as a server binds them."""
    ort, session = runtime(), open_session(model)
    row = np.ascontiguousarray(x[:1])
    output = session.get_outputs()[0]
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, ort.OrtValue.ortvalue_from_numpy(row))
    binding.bind_output(output.name, "cpu")
    times = np.empty(SINGLE_ROWS)
    for index in range(SINGLE_ROWS):
        row[:] = x[index % len(x)]
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        times[index] = time.perf_counter() - begin
    return float(np.median(times) * 1e6)


def open_session(model: bytes) -> Any:
    """Return a session on one thread: with more, the last digit of a tree sum would depend on the batch."""
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
