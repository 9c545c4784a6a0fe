"""FILE of ``--spec``: the Job's ``run.json``, or a ModelRetrain as YAML, both become one :class:`RunDocument`."""

from __future__ import annotations

import difflib
import hashlib
import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from walkforward_core.api.fields import Name
from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.documents import Part, encode
from walkforward_core.errors import DocumentError
from walkforward_core.names import GROUP, VERSION
from walkforward_core.runs import RetrainObject, RunDocument, Trigger, TriggerKind
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.spectext import from_json, from_yaml, repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["COMMAND_LINE", "instant", "load", "load_all", "run_name", "timestamp"]

T = TypeVar("T")

COMMAND_LINE: Final = "command-line"
"""Trigger of a run that no operator has started: nobody has told it which bundles are in use."""

YEARS: Final = range(1800, 2200)
"""Years that an instant may lie in: markets are not older, and no clock is meant that is further ahead."""
DEEPEST: Final = 100
"""Levels of a document; the spec itself has ten."""


class Metadata(Part, frozen=True, kw_only=True):
    """What of a resource's metadata a run goes by; the name keeps to the rule of the CRD, since folders are called after it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=47)]
    namespace: Name = "default"
    uid: str = "laptop"


def load(path: Path, *, now_ms: int, name: str = "") -> RunDocument:
    """Return the run that ``path`` describes; of several ModelRetrains that of ``name``.

    Raises
    ------
    BadConfiguration
        As :func:`load_all`, or several of which none is named.
    """
    runs = load_all(path, now_ms=now_ms, name=name)
    if len(runs) > 1:
        named = ", ".join(run.retrain.name for run in runs)
        raise BadConfiguration(Reason.SPEC_INVALID, f"{path}: {len(runs)} ModelRetrain documents ({named}); name the one that is meant")
    return runs[0]


def load_all(path: Path, *, now_ms: int, name: str = "") -> list[RunDocument]:
    """Return the runs that ``path`` describes, in its order; ``name`` keeps one ModelRetrain of several, empty keeps them all.

    Without ``data.asOf`` a ModelRetrain is run as of ``now_ms``.

    Raises
    ------
    BadConfiguration
        No such file, not the documents it should hold, or a field that nobody would read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"--spec {path}: {error.strerror}; give a run.json or a ModelRetrain YAML") from error
    beside: list[Any] = []
    documents: list[Mapping[str, Any]]
    if data.lstrip().startswith(b"{"):
        fields = from_json(data, str(path))
        if fields.get("kind") != "ModelRetrain":
            try:
                return [RunDocument.parse(data, source=str(path))]
            except DocumentError as error:
                raise BadConfiguration(Reason.SPEC_INVALID, str(error)) from error
        documents = [fields]
    else:
        beside = from_yaml(data, str(path))
        documents = _retrains(beside, str(path))
    return _chosen([_of_resource(fields, beside, str(path), now_ms) for fields in documents], name, str(path))


def instant(text: str, field: str) -> int:
    """Return RFC 3339 ``text`` in epoch milliseconds UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{field} {text!r}: {error}; write 2026-01-31T13:00:00Z") from error
    if moment.tzinfo is None:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{field} {text!r} has no time zone; write 2026-01-31T13:00:00Z")
    if moment.year not in YEARS:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{field} {text!r}: the year lies outside {YEARS[0]} to {YEARS[-1]}; write 2026-01-31T13:00:00Z"
        )
    return round(moment.timestamp() * 1000)


def timestamp(epoch_ms: int) -> str:
    """Return RFC 3339 UTC, with milliseconds only where there are some.

    >>> timestamp(0), timestamp(1_500)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z')
    """
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="seconds" if epoch_ms % 1000 == 0 else "milliseconds").replace("+00:00", "Z")


def run_name(owner: RetrainObject, spec: RetrainSpec, as_of: str) -> str:
    """Return the name of a manual run: another spec and another instant are another run."""
    return f"{owner.name}-{hashlib.sha256(encode([owner, spec, as_of])).hexdigest()[:8]}"


def _retrains(documents: Sequence[Any], source: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [
        document for document in documents if isinstance(document, dict) and document.get("kind") == "ModelRetrain"
    ]
    if not found:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: 0 ModelRetrain documents; it must hold one at the least")
    return found


def _chosen(runs: list[RunDocument], name: str, source: str) -> list[RunDocument]:
    """Return the run of ``name``, or all of them; two of one name are refused, for each would write over the other's."""
    known = [run.retrain.name for run in runs]
    twice = repeated(known)
    if twice is not None:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{source}: {len(runs)} ModelRetrain documents, two of them called {twice!r}; rename one"
        )
    if name and name not in known:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: no ModelRetrain is called {name!r}; there are {', '.join(known)}")
    return [run for run in runs if name in ("", run.retrain.name)]


def _of_resource(fields: Mapping[str, Any], beside: Sequence[Any], source: str, now_ms: int) -> RunDocument:
    """Return a manual run of a ModelRetrain; the same resource at the same ``asOf`` is the same run.

    ``beside`` are the documents of its file, among them the ConfigMap of shared overrides.
    """
    if fields.get("apiVersion") != f"{GROUP}/{VERSION}":
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: apiVersion is {fields.get('apiVersion')!r}; write {GROUP}/{VERSION}")
    metadata = _part(_plain(fields.get("metadata") or {}, "metadata", source), Metadata, "metadata", source)
    raw = _plain(fields.get("spec") or {}, "spec", source)
    spec = _part(raw, RetrainSpec, "spec", source)
    _no_strangers(raw, msgspec.to_builtins(spec), "spec", source)
    spec = _with_shared(spec, beside, source)
    as_of = spec.data.as_of or timestamp(now_ms // 1000 * 1000)
    owner = RetrainObject(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
    trigger = Trigger(id=COMMAND_LINE, kind=TriggerKind.MANUAL)
    return RunDocument(run=run_name(owner, spec, as_of), retrain=owner, trigger=trigger, as_of=as_of, spec=spec)


def _with_shared(spec: RetrainSpec, beside: Sequence[Any], source: str) -> RetrainSpec:
    """Return ``spec`` with the overrides that it shares, as the operator merges them."""
    if spec.overrides_from is None:
        return spec
    from walkforward_core.api.overrides import OverridesError, merged, parse, text_of  # noqa: PLC0415 - only a laptop reads YAML

    name = spec.overrides_from.config_map
    maps = [one for one in beside if isinstance(one, dict) and one.get("kind") == "ConfigMap" and isinstance(one.get("metadata"), dict)]
    found = next((one for one in maps if one["metadata"].get("name") == name and isinstance(one.get("data"), dict)), None)
    if found is None:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"{source}: spec.overridesFrom: ConfigMap {name!r} is not in this file, and a laptop asks no cluster; put it beside the "
            "ModelRetrain, behind a line ---, or write its fields below spec.overrides",
        )
    try:
        return merged(spec, parse(text_of(found, spec.overrides_from), f"{source}: ConfigMap {name}, key {spec.overrides_from.key}"))
    except OverridesError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, str(error)) from error


def _part(fields: Any, kind: type[T], path: str, source: str) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {path}: {error}; correct this field") from error


def _plain(value: Any, path: str, source: str, depth: int = 0) -> Any:
    """Return ``value`` as JSON could have it: what YAML has beyond that becomes text where it was a time, and is refused otherwise."""
    if depth > DEEPEST:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{source}: {path[:80]}… is nested more than {DEEPEST} deep; no field of ModelRetrain is"
        )
    if isinstance(value, dict):
        keys = {key: _plain(key if isinstance(key, str) else str(key), f"{path}.{key}", source, depth) for key in value}
        return {keys[key]: _plain(inner, f"{path}.{keys[key]}", source, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, f"{path}[{index}]", source, depth + 1) for index, inner in enumerate(value)]
    if why := _not_json(value):
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {path}: {value!r} {why}")
    if isinstance(value, datetime):
        try:
            return timestamp(round(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1000))
        except (ValueError, OverflowError) as error:
            raise BadConfiguration(Reason.SPEC_INVALID, f"{source}: {path}: {value}: {error}; write 2026-01-31T13:00:00Z") from error
    return value


def _not_json(value: Any) -> str:
    """Return why ``value`` is nothing that a field could have; empty where it may be."""
    if isinstance(value, float) and not math.isfinite(value):
        return "is no finite number; write one, or leave the field out"
    if isinstance(value, str) and not _is_text(value):
        return "has a character that is no text; write it without"
    if isinstance(value, date) and not isinstance(value, datetime):
        return "is a day without a time; write 2026-01-31T13:00:00Z"
    if not isinstance(value, (str, int, float, datetime, type(None))):
        return f"is {type(value).__name__} of YAML, which no field takes; write text, a number, a list or a mapping"
    return ""


def _is_text(value: str) -> bool:
    """Return whether ``value`` can be written as UTF-8 and has no control characters but those of text in lines."""
    return not any(0xD800 <= ord(character) <= 0xDFFF or (ord(character) < 0x20 and character not in "\t\r\n") for character in value)


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
