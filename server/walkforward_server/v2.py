"""The Open Inference Protocol (V2) on the wire: request bytes to a row, answers to response bytes.

JSON, the binary tensor extension (``Inference-Header-Content-Length``) and raw binary requests (that header being 0).
Everything here is pure; what is wrong with a request is said in :class:`BadRequestError`, with tensor, expected and given.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

__all__ = ["BadRequestError", "InferRequest", "InputTensor", "Parameters", "TensorSpec", "decode_infer", "read_rows"]

MAX_BATCH = 1024
"""Rows of one request: they are scored on the event loop, in at most a few milliseconds."""


class BadRequestError(ValueError):
    """The client's mistake; the message is the answer."""


class TensorParameters(msgspec.Struct, gc=False):
    """Parameters of an input tensor."""

    binary_data_size: int | None = None


class InputTensor(msgspec.Struct, gc=False):
    """One input tensor; ``data`` is flat or one list per row; null stands for NaN."""

    name: str
    shape: list[int]
    datatype: str
    parameters: TensorParameters | None = None
    data: list[float | list[float | None] | None] | None = None


class OutputParameters(msgspec.Struct, gc=False):
    """Parameters of a requested output."""

    binary_data: bool = False


class RequestedOutput(msgspec.Struct, gc=False):
    """One output that the client asks for by name."""

    name: str
    parameters: OutputParameters | None = None


class Parameters(msgspec.Struct, gc=False):
    """Request parameters (contract C5); ``ts`` in epoch milliseconds of market time."""

    id: str | None = None
    client: str | None = None
    symbol: str | None = None
    strategy: str | None = None
    ts: int | None = None
    price: float | None = None
    base_position: float | None = None
    features: str | None = None
    binary_data_output: bool = False


class InferRequest(msgspec.Struct, gc=False):
    """One inference request; ``tail`` holds the bytes after the JSON header in a binary request."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    outputs: list[RequestedOutput] | None = None
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The one tensor that is expected; ``columns`` are the features in the order in which the client sends them."""

    name: str
    columns: tuple[str, ...]
    allow_nan: bool
    pack: struct.Struct

    @classmethod
    def of(cls, name: str, columns: tuple[str, ...], *, allow_nan: bool) -> TensorSpec:
        """Return the specification with its packer."""
        return cls(name=name, columns=columns, allow_nan=allow_nan, pack=struct.Struct(f"<{len(columns)}f"))


_decoder = msgspec.json.Decoder(InferRequest)


def decode_infer(body: bytes, header_length: int | None, spec: TensorSpec | None) -> InferRequest:
    """Return the request in ``body``.

    ``header_length`` is the value of ``Inference-Header-Content-Length``; with 0 the body is the tensor itself and ``spec`` says which.

    Raises
    ------
    BadRequestError
        Not JSON, or a field is missing or of another type.
    """
    if header_length == 0:
        return _raw_request(body, spec)
    try:
        if header_length is None:
            return _decoder.decode(body)
        request = _decoder.decode(body[:header_length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"request is not valid V2 JSON: {error}") from error
    request.tail = body[header_length:]
    return request


def _raw_request(body: bytes, spec: TensorSpec | None) -> InferRequest:
    """One tensor, nothing else: the row count follows from the length."""
    width = 4 * len(spec.columns) if spec else len(body)
    if width == 0 or len(body) % width:
        raise BadRequestError(f"raw request has {len(body)} bytes, expected a multiple of {width} (FP32 rows of {width // 4} features)")
    name = spec.name if spec else ""
    tensor = InputTensor(
        name=name, shape=[len(body) // width, width // 4], datatype="FP32", parameters=TensorParameters(binary_data_size=len(body))
    )
    return InferRequest(inputs=[tensor], tail=body)


def read_rows(request: InferRequest, spec: TensorSpec) -> bytes:
    """Return the rows of the request's tensor as float32 little-endian bytes, row-major, in the client's column order.

    Raises
    ------
    BadRequestError
        Name, datatype, shape or a value is not what ``spec`` expects; the message has what was given.
    """
    if len(request.inputs) != 1:
        raise BadRequestError(f"expected 1 input tensor {spec.name!r}, got {len(request.inputs)}")
    tensor = request.inputs[0]
    width, shape = len(spec.columns), tensor.shape
    if tensor.name != spec.name:
        raise BadRequestError(f"expected input tensor {spec.name!r}, got {tensor.name!r}")
    if tensor.datatype != "FP32":
        raise BadRequestError(f"tensor {spec.name!r}: expected datatype FP32, got {tensor.datatype!r}")
    if len(shape) != 2 or shape[1] != width or shape[0] < 1:
        raise BadRequestError(f"tensor {spec.name!r}: expected shape [rows, {width}], got {shape}")
    if shape[0] > MAX_BATCH:
        raise BadRequestError(f"tensor {spec.name!r}: at most {MAX_BATCH} rows in one request, got {shape[0]}; send several")
    if tensor.parameters is not None and tensor.parameters.binary_data_size is not None:
        return _binary_rows(tensor, tensor.parameters.binary_data_size, request.tail, spec)
    return _json_rows(tensor, request, spec)


def _binary_rows(tensor: InputTensor, size: int, tail: bytes, spec: TensorSpec) -> bytes:
    expected = 4 * tensor.shape[0] * tensor.shape[1]
    if tensor.data is not None:
        raise BadRequestError(f"tensor {spec.name!r} has both data and binary_data_size; send one of them")
    if size != expected or len(tail) != expected:
        raise BadRequestError(
            f"tensor {spec.name!r}: shape {tensor.shape} needs {expected} bytes, binary_data_size is {size}, "
            f"and {len(tail)} bytes follow the JSON"
        )
    values = np.frombuffer(tail, "<f4")
    if not np.isfinite(values).all():
        _refuse(values, spec)
    return tail


def _json_rows(tensor: InputTensor, request: InferRequest, spec: TensorSpec) -> bytes:
    if request.tail:
        raise BadRequestError(f"{len(request.tail)} bytes follow the JSON, but tensor {spec.name!r} has no binary_data_size")
    data: list[Any] | None = tensor.data
    if data is None:
        raise BadRequestError(f"tensor {spec.name!r} has no data")
    rows, width = tensor.shape
    if data and type(data[0]) is list:
        data = _flatten(data, tensor, spec)
    if len(data) != rows * width:
        raise BadRequestError(f"tensor {spec.name!r}: shape {tensor.shape} needs {rows * width} values, data has {len(data)}")
    try:
        # the packer refuses null and what does not fit a float32, so one row needs no second look
        return spec.pack.pack(*data) if rows == 1 else struct.pack(f"<{len(data)}f", *data)
    except (struct.error, OverflowError):
        return _unusual_rows(data, spec)


def _flatten(data: list[Any], tensor: InputTensor, spec: TensorSpec) -> list[Any]:
    rows, width = tensor.shape
    if len(data) != rows or any(type(row) is not list or len(row) != width for row in data):
        lengths = sorted({len(row) if type(row) is list else 0 for row in data})
        raise BadRequestError(f"tensor {spec.name!r}: shape {tensor.shape} given, data has {len(data)} rows of {lengths} values")
    return data[0] if rows == 1 else [value for row in data for value in row]


def _unusual_rows(data: list[Any], spec: TensorSpec) -> bytes:
    """Name the value that is not a float32, or pass NaN (null in JSON) where the manifest allows it."""
    for value in data:
        if type(value) is list:
            raise BadRequestError(f"tensor {spec.name!r}: data mixes numbers and rows; send it flat, or one list per row")
    with np.errstate(over="ignore"):
        values = np.array([math.nan if value is None else value for value in data], np.float64).astype("<f4")
    _refuse(values, spec)
    return values.tobytes()


def _refuse(values: np.ndarray[Any, np.dtype[np.float32]], spec: TensorSpec) -> None:
    """Raise for the first value that is infinite, or NaN where the manifest refuses it."""
    width = len(spec.columns)
    bad = np.isinf(values) if spec.allow_nan else ~np.isfinite(values)
    if bad.any():
        index = int(bad.argmax())
        what = "NaN" if np.isnan(values[index]) else "infinite, or too large for FP32,"
        raise BadRequestError(
            f"tensor {spec.name!r}: row {index // width}, feature {spec.columns[index % width]!r} is {what} and the model takes only "
            f"{'numbers or NaN' if spec.allow_nan else 'finite numbers'}"
        )
