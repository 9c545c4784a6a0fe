"""ONNX Runtime as the server runs it: one thread, on the processor, nothing sent anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["run", "runtime"]


def runtime() -> Any:
    """Return the module ``onnxruntime``, imported with its telemetry switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, at import
    import onnxruntime  # noqa: PLC0415 - after the switch

    return onnxruntime


def run(model: bytes, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the model's one output for rows ``x`` (n, features).

    One thread: with more, the last digit of a tree sum would depend on the batch.
    """
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    output: npt.NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return output
