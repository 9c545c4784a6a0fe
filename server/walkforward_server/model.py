"""One loaded model: a session with its tensors bound once, scored inline on the event loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforward_core.decision import decision_score
from walkforward_core.errors import DocumentError
from walkforward_server.decision import choice_rule, needs_base, position_rule, score_rule
from walkforward_server.graphs import keep_outputs
from walkforward_server.ort import onnxruntime, session_options

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self.negative = manifest.output.classes.index(manifest.output.negative)
        self.heads = {head.name: head.columns for head in manifest.output.heads}
        self.decisive = score_rule(manifest.output)
        self.position = position_rule(manifest.decision)
        self.choice = choice_rule(manifest.decision, self.classes)
        self.needs_base = needs_base(manifest.decision)
        # what only leads to further heads would cost every request as much as the decision itself
        own = keep_outputs(content, {manifest.output.name}) if self.heads else content
        self._session: Any = _open(own)
        self._whole: Any = _open(content) if self.heads else self._session
        self._check_input()
        self._check_heads()
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

    def _check_heads(self) -> None:
        found = {output.name: output.type for output in self._whole.get_outputs()}
        for name in self.heads:
            if found.get(name) != "tensor(float)":
                raise DocumentError(
                    f"model.onnx of {self.version}: the manifest promises a float tensor {name!r} beside the decision's, found are {found}"
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

    def decisive_rows(self, answer: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return the score of the decision for each row of probabilities ``answer``, shape (rows, classes)."""
        if self.classes == 2:
            return answer[:, self.positive]
        wide = answer.astype(np.float64)
        return np.asarray(decision_score(wide[:, self.positive], wide[:, self.negative], self.classes))

    def further(self, x: NDArray[np.float32], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the heads ``names``, each of shape (rows, its columns), of ``x`` with shape (rows, features).

        Raises
        ------
        NonFiniteError
            One of the answers is NaN or infinity, or has another shape.
        """
        answers: list[NDArray[np.float32]] = self._whole.run(list(names), {self.manifest.input.name: x})
        for name, answer in zip(names, answers, strict=True):
            if answer.shape != (len(x), self.heads[name]) or not np.isfinite(answer).all():
                raise NonFiniteError(f"head {name} of model {self.version} answered shape {answer.shape} or a number that is not finite")
        return answers


def _open(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
