"""One loaded model: a session with its tensors bound once, scored inline on the event loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforward_core.errors import DocumentError
from walkforward_server.decision import choice_rule, needs_base, position_rule
from walkforward_server.ort import onnxruntime, session_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from walkforward_core.bundle import Manifest, Reference

__all__ = ["Model", "NonFiniteError"]

_FLOATS = {"tensor(float)": (np.float32, "FP32"), "tensor(double)": (np.float64, "FP64")}


class NonFiniteError(ArithmeticError):
    """A model answered with NaN or infinity."""


class Model:
    """A verified bundle in memory.

    One row is scored through tensors that are bound once (half the cost of a plain ``run``); they are reused, so a model belongs to
    one thread. ``digest`` is the sha256 of the manifest's bytes.

    Raises
    ------
    DocumentError
        The graph's input or output is not the one that the manifest describes.
    """

    def __init__(self, content: bytes, manifest: Manifest, reference: Reference, digest: str) -> None:
        self.manifest = manifest
        self.reference = reference
        self.digest = digest
        self.version = manifest.version
        self.features = manifest.input.features
        self.width = len(self.features)
        self.row_bytes = 4 * self.width
        self.classes = len(manifest.output.classes)
        self.positive = manifest.output.classes.index(manifest.output.positive)
        self.position = position_rule(manifest.decision)
        self.choice = choice_rule(manifest.decision)
        self.needs_base = needs_base(manifest.decision)
        self._session: Any = onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
        self._check_input()
        self._dtype, self.datatype = self._output_type()
        self._x = np.zeros((1, self.width), np.float32)
        self._raw = self._x.data.cast("B")
        self._out = np.zeros((1, self.classes), self._dtype)
        self._bound = self._bind()

    def _check_input(self) -> None:
        inputs = self._session.get_inputs()
        wanted = self.manifest.input
        found = inputs[0]
        width = found.shape[-1] if found.shape else None
        fixed = isinstance(width, int) and width != self.width
        if len(inputs) != 1 or found.name != wanted.name or found.type != "tensor(float)" or len(found.shape) != 2 or fixed:
            names = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise DocumentError(
                f"model.onnx of {self.version}: inputs are {names}, the manifest promises one tensor {wanted.name!r} FP32 "
                f"[-1, {self.width}]; train and publish the bundle again"
            )

    def _output_type(self) -> tuple[Any, str]:
        wanted = self.manifest.output.name
        for output in self._session.get_outputs():
            if output.name == wanted and output.type in _FLOATS:
                return _FLOATS[output.type]
        found = ", ".join(f"{o.name} {o.type}" for o in self._session.get_outputs())
        raise DocumentError(f"model.onnx of {self.version}: outputs are {found}, the manifest promises a float tensor {wanted!r}")

    def _bind(self) -> Any:
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self.manifest.input.name, onnxruntime.OrtValue.ortvalue_from_numpy(self._x))
        binding.bind_output(self.manifest.output.name, "cpu", 0, self._dtype, list(self._out.shape), self._out.ctypes.data)
        return binding

    def score(self, row: bytes) -> list[float]:
        """Return the probabilities of one row of little-endian float32 values in the model's own feature order.

        Raises
        ------
        NonFiniteError
            The model answered with NaN or infinity.
        """
        self._raw[:] = row
        self._session.run_with_iobinding(self._bound)
        answer: list[float] = self._out.tolist()[0]
        if not math.isfinite(sum(answer)):
            raise NonFiniteError(f"model {self.version} answered {answer}")
        return answer

    def score_rows(self, x: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Return the probabilities, shape (rows, classes), of ``x`` with shape (rows, features).

        Raises
        ------
        NonFiniteError
            One of the answers is NaN or infinity, or their shape is not (rows, classes).
        """
        (answer,) = self._session.run([self.manifest.output.name], {self.manifest.input.name: x})
        if answer.shape != (len(x), self.classes) or not np.isfinite(answer).all():
            raise NonFiniteError(f"model {self.version} answered shape {answer.shape} or a number that is not finite for {len(x)} rows")
        return np.asarray(answer)
