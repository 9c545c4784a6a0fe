"""FILE of ``--spec``: the Job's ``run.json``, or a ModelRetrain as YAML, both become one :class:`RunDocument`."""

from __future__ import annotations

import difflib
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.documents import encode
from walkforward_core.errors import DocumentError
from walkforward_core.names import GROUP, VERSION
from walkforward_core.runs import RetrainObject, RunDocument, Trigger, TriggerKind
from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["COMMAND_LINE", "instant", "load", "timestamp"]

COMMAND_LINE: Final = "command-line"
"""Trigger of a run that no operator has started: nobody has told it which bundles are in use."""


def load(path: Path, *, now_ms: int) -> RunDocument:
    """Return the run that ``path`` describes; without ``data.asOf`` a ModelRetrain is run as of ``now_ms``.

    Raises
    ------
    BadConfiguration
        No such file, not the document it should be, or a field that nobody would read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"--spec {path}: {error.strerror}; give a run.json or a ModelRetrain YAML") from error
    if data.lstrip().startswith(b"{"):
        fields = _json(data, str(path))
        if fields.get("kind") != "ModelRetrain":
            try:
                return RunDocument.parse(data, source=str(path))
            except DocumentError as error:
                raise BadConfiguration(Reason.SPEC_INVALID, str(error)) from error
    else:
        fields = _yaml(data, str(path))
    return _of_resource(fields, str(path), now_ms)


def instant(text: str, field: str) -> int:
    """Return RFC 3339 ``text`` in epoch milliseconds UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{field} {text!r}: {error}; write 2026-01-31T13:00:00Z") from error
    if moment.tzinfo is None:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{field} {text!r} has no time zone; write 2026-01-31T13:00:00Z")
    return round(moment.timestamp() * 1000)


def timestamp(epoch_ms: int) -> str:
    """Return RFC 3339 UTC, with milliseconds only where there are some.

    >>> timestamp(0), timestamp(1_500)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z')
    """
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="seconds" if epoch_ms % 1000 == 0 else "milliseconds").replace("+00:00", "Z")


def _json(data: bytes, source: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {error}; it must be one JSON object") from error


def _yaml(data: bytes, source: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only a laptop reads YAML

    try:
        documents = [document for document in yaml.safe_load_all(data) if document is not None]
    except yaml.YAMLError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: not YAML: {error}") from error
    found = [document for document in documents if isinstance(document, dict) and document.get("kind") == "ModelRetrain"]
    if len(found) != 1:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {len(found)} ModelRetrain documents; it must hold exactly one")
    return found[0]


def _of_resource(fields: Mapping[str, Any], source: str, now_ms: int) -> RunDocument:
    """Return a manual run of a ModelRetrain; the same resource at the same ``asOf`` is the same run."""
    if fields.get("apiVersion") != f"{GROUP}/{VERSION}":
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: apiVersion is {fields.get('apiVersion')!r}; write {GROUP}/{VERSION}")
    metadata = fields.get("metadata") or {}
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: metadata.name is missing")
    raw = fields.get("spec") or {}
    try:
        spec = msgspec.convert(_plain(raw), RetrainSpec)
    except msgspec.ValidationError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: spec: {error}") from error
    _no_strangers(raw, msgspec.to_builtins(spec), "spec", source)
    as_of = spec.data.as_of or timestamp(now_ms // 1000 * 1000)
    owner = RetrainObject(namespace=str(metadata.get("namespace") or "default"), name=name, uid=str(metadata.get("uid") or "laptop"))
    run = f"{name}-{hashlib.sha256(encode([owner, spec, as_of])).hexdigest()[:8]}"
    trigger = Trigger(id=COMMAND_LINE, kind=TriggerKind.MANUAL)
    return RunDocument(run=run, retrain=owner, trigger=trigger, as_of=as_of, spec=spec)


def _plain(value: Any) -> Any:
    """Return ``value`` with YAML's own dates as the text that they were."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return timestamp(round(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1000))
    return value


def _no_strangers(given: Any, known: Any, path: str, source: str) -> None:
    """Refuse a field that no part of the spec has: on a laptop no API server does."""
    if isinstance(given, list) and isinstance(known, (list, tuple)):
        for index, (inner, other) in enumerate(zip(given, known, strict=True)):
            _no_strangers(inner, other, f"{path}[{index}]", source)
    if not isinstance(given, dict) or not isinstance(known, dict):
        return
    for key, inner in given.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {path}.{key} is not a field of ModelRetrain; {hint}")
        _no_strangers(inner, known[key], f"{path}.{key}", source)
