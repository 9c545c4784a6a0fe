"""Text of a spec file, JSON or YAML, as plain values; a key that stands twice is refused, since one of the two would be lost unseen."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import yaml

__all__ = ["from_json", "from_yaml", "repeated"]


def from_json(data: bytes, source: str) -> dict[str, Any]:
    """Return the object of ``data``; ``source`` is the file's name in messages.

    Raises
    ------
    BadConfiguration
        No JSON, no object, or a key twice.
    """
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
        # the first decoder keeps the last of equal keys, the second one shows them all
        json.loads(data, object_pairs_hook=lambda pairs: _once([key for key, _ in pairs], source))
    except (ValueError, RecursionError) as error:  # msgspec's and json's own are ValueErrors
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {error}; it must be one JSON object") from error
    return fields


def repeated(words: Sequence[str]) -> str | None:
    """Return the first of ``words`` that stands there again, None where each stands once."""
    return next((word for index, word in enumerate(words) if word in words[:index]), None)


def _once(keys: list[str], source: str) -> None:
    twice = repeated(keys)
    if twice is not None:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: the key {twice!r} stands twice in one object; keep one of them")


def from_yaml(data: bytes, source: str) -> list[Any]:
    """Return the documents of ``data``, less the empty ones.

    Raises
    ------
    BadConfiguration
        No YAML, a value that there is none of, or a key twice.
    """
    import yaml  # noqa: PLC0415 - only a laptop reads YAML

    try:
        return [document for document in _documents(yaml.SafeLoader(data), source) if document is not None]
    except yaml.YAMLError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: not YAML: {error}") from error
    except ValueError as error:  # 2026-02-30, 0x_
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{source}: YAML with a day or a number that there is none of: {error}; correct it"
        ) from error
    except RecursionError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: YAML that is nested without end; no field of ModelRetrain is") from error


def _documents(loader: yaml.SafeLoader, source: str) -> Iterator[Any]:
    try:
        while loader.check_node():
            node = loader.get_node()
            _each_key_once(node, source)
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _each_key_once(root: yaml.Node | None, source: str) -> None:
    """Refuse a mapping with a key that stands twice; keys that ``<<`` brings in are not the mapping's own, and may be written over."""
    import yaml  # noqa: PLC0415 - see from_yaml

    # an alias leads to a node again, or back to one that it is inside of
    seen, waiting = set[int](), deque([("", root)])
    while waiting:
        path, node = waiting.popleft()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = f"{path}.{key.value}".removeprefix("."), key.start_mark.line + 1
            if key.value in lines:
                where = f"in line {line}" if line == lines[key.value] else f"in the lines {lines[key.value]} and {line}"
                raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {name} stands twice, {where}; keep one of them")
            lines[key.value] = line
            waiting.append((name, inner))
