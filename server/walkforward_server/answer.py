"""Answers on the wire: V2 inference responses as JSON or with binary tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from walkforward_server.v2 import BadRequestError

if TYPE_CHECKING:
    from walkforward_server.v2 import InferRequest, RequestedOutput

__all__ = ["POSITION", "Body", "Output", "encode_answer"]

POSITION = "position"
_TYPES = {"FP32": "<f4", "FP64": "<f8"}
_json = msgspec.json.encode


class Body(NamedTuple):
    """A response's body; ``header_length`` is that of its JSON part where binary tensors follow."""

    data: bytes
    header_length: int | None = None


class Output(NamedTuple):
    """One output tensor, flat and row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[float]


def encode_answer(request: InferRequest, head: bytes, tail: bytes, outputs: tuple[Output, ...]) -> Body:
    """Return the body of an answer.

    ``head`` is everything up to the parameters that all answers of a model share, ``tail`` the request's own parameters.

    Raises
    ------
    BadRequestError
        The client asked for an output that the model does not have.
    """
    identity = b"" if request.id is None else b',"id":' + _json(request.id)
    start = head + tail + b"}" + identity + b',"outputs":['
    if request.outputs is None and not request.parameters.binary_data_output:
        return Body(start + b",".join([_tensor(output) for output in outputs]) + b"]}")
    return _chosen(request, start, outputs)


def _tensor(output: Output) -> bytes:
    shape = ",".join(map(str, output.shape))
    data = ",".join(map(repr, output.values))
    return f'{{"name":"{output.name}","datatype":"{output.datatype}","shape":[{shape}],"data":[{data}]}}'.encode()


def _chosen(request: InferRequest, start: bytes, outputs: tuple[Output, ...]) -> Body:
    """Only the outputs that were asked for, each in the form that was asked for."""
    by_name = {output.name: output for output in outputs}
    tensors, blobs = [], []
    for name, binary in _wanted(request.outputs, by_name, default=request.parameters.binary_data_output):
        output = by_name[name]
        if not binary:
            tensors.append(_tensor(output))
            continue
        blob = np.array(output.values, _TYPES[output.datatype]).tobytes()
        blobs.append(blob)
        described = {
            "name": name,
            "datatype": output.datatype,
            "shape": output.shape,
            "parameters": {"binary_data_size": len(blob)},
        }
        tensors.append(_json(described))
    header = start + b",".join(tensors) + b"]}"
    return Body(header + b"".join(blobs), len(header) if blobs else None)


def _wanted(asked: list[RequestedOutput] | None, known: dict[str, Output], *, default: bool) -> list[tuple[str, bool]]:
    if asked is None:
        return [(name, default) for name in known]
    for output in asked:
        if output.name not in known:
            raise BadRequestError(f"output {output.name!r} is not one of {sorted(known)}")
    return [(output.name, output.parameters.binary_data if output.parameters else default) for output in asked]
