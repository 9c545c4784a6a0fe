"""An ONNX graph without the outputs that nobody asked for: ONNX Runtime computes every output of a session, wanted or not.

The image has no package that reads ONNX files, and needs none: a protobuf message is a row of tagged fields, and only the graph's nodes
and outputs are looked into. What comes out is proven by the golden rows like any other model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from walkforward_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["keep_outputs"]

GRAPH = 7
"""Field of ModelProto."""
NODE, OUTPUT = 1, 12
"""Fields of GraphProto."""
NODE_INPUT, NODE_OUTPUT, VALUE_NAME = 1, 2, 1
"""Fields of NodeProto and of ValueInfoProto."""
VARINT, LENGTH_DELIMITED, FIXED = 0, 2, {1: 8, 5: 4}
"""Wire types; of the fixed ones with their bytes."""


class _Field(NamedTuple):
    """One field: ``whole`` with its tag, ``content`` without; the content of numbers is empty."""

    number: int
    whole: bytes
    content: bytes


def keep_outputs(model: bytes, wanted: Collection[str]) -> bytes:
    """Return the serialised ``model`` with the outputs ``wanted`` and the nodes that lead to them.

    Raises
    ------
    IntegrityError
        It is no ONNX model.
    """
    return b"".join(
        _tagged(GRAPH, _pruned(field.content, set(wanted))) if field.number == GRAPH else field.whole for field in _fields(model)
    )


def _pruned(graph: bytes, needed: set[str]) -> bytes:
    fields = list(_fields(graph))
    wanted = frozenset(needed)
    kept = []
    # nodes are in the order in which they run: from the last on, each says what it needs itself
    for field in reversed(fields):
        if field.number == NODE:
            names = [(part.number, part.content.decode()) for part in _fields(field.content) if part.number in (NODE_INPUT, NODE_OUTPUT)]
            if needed.isdisjoint(name for number, name in names if number == NODE_OUTPUT):
                continue
            needed.update(name for number, name in names if number == NODE_INPUT)
        if field.number == OUTPUT:
            (name,) = (part.content.decode() for part in _fields(field.content) if part.number == VALUE_NAME)
            if name not in wanted:
                continue
        kept.append(field.whole)
    return b"".join(reversed(kept))


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        begin = at
        try:
            tag, at = _varint(message, at)
            first, at = _content(message, at, tag & 7)
        except (IndexError, KeyError) as error:
            raise IntegrityError("model.onnx is not an ONNX model; publish the bundle again") from error
        yield _Field(tag >> 3, message[begin:at], message[first:at])


def _content(message: bytes, at: int, kind: int) -> tuple[int, int]:
    """Return where the content of a field at ``at`` begins and ends; that of a number is nothing."""
    if kind == LENGTH_DELIMITED:
        size, first = _varint(message, at)
        end = first + size
    else:
        first = end = _varint(message, at)[1] if kind == VARINT else at + FIXED[kind]
    if end > len(message):
        raise IndexError(end)
    return first, end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at``, seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _tagged(number: int, content: bytes) -> bytes:
    out = bytearray([number << 3 | LENGTH_DELIMITED])
    size = len(content)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out) + content
