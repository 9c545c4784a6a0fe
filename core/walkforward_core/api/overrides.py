"""``spec.overridesFrom``: overrides in a ConfigMap, read strictly, under what the spec says itself.

Nothing is guessed: an unknown field, a key that stands there twice, an alias or a value of another type is refused with the place where
it stands. Errors show names and places, and of the text no more than msgspec says of one value.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml
from msgspec import inspect as types

from walkforward_core.api.recipe import Overrides

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.recipe import OverridesFrom
    from walkforward_core.api.retrain import RetrainSpec

__all__ = ["LIMIT", "OverridesError", "merged", "parse", "text_of"]

LIMIT: Final = 32 * 1024
"""Bytes of YAML that are read; five hundred features with the longest names are as many."""

DEPTH: Final = 16
_OPENING: Final = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
_CLOSING: Final = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class OverridesError(ValueError):
    """What a ConfigMap has for overrides cannot be used; the message names ConfigMap, key, field and next step."""


class _Strict(yaml.CSafeLoader):
    """YAML without aliases, whose copies grow beyond any bound, and without keys that take the place of an earlier one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature is pyyaml's
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def text_of(config_map: Mapping[str, Any], reference: OverridesFrom) -> str:
    """Return the text that ``reference`` names; raises :class:`OverridesError`."""
    data = config_map.get("data") or {}
    where = f"spec.overridesFrom: ConfigMap {reference.config_map}"
    if reference.key not in data:
        known = ", ".join(sorted(data)[:5]) or "none"
        raise OverridesError(f"{where} has no key {reference.key!r}, its keys are {known}: add it, or correct overridesFrom.key")
    text = str(data[reference.key])
    if len(text.encode()) > LIMIT:
        raise OverridesError(f"{where}, key {reference.key}: {len(text.encode())} bytes, at most {LIMIT} are read: shorten it")
    return text


def parse(text: str, where: str) -> dict[str, Any]:
    """Return the overrides in ``text`` as plain JSON, just as far as they were said.

    ``where`` names the text in the error.

    Raises
    ------
    OverridesError
        No YAML, a field that is not known, or a value that is out of its bounds.
    """
    value = _load(text, where)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OverridesError(f"{where}: there must be fields of spec.overrides, such as 'target: {{horizonBars: 3}}'")
    _check_names(value, Overrides, where, "")
    try:
        msgspec.convert(value, Overrides)
    except msgspec.ValidationError as error:
        raise OverridesError(f"{where}: {error}: correct the value") from error
    return value


def merged(spec: RetrainSpec, shared: Mapping[str, Any]) -> RetrainSpec:
    """Return ``spec`` with ``shared`` below its own overrides: field by field, what the spec says itself wins."""
    own = _said(msgspec.to_builtins(spec.overrides))
    overrides = msgspec.convert(_merge(shared, own), Overrides)
    return msgspec.structs.replace(spec, overrides=overrides, overrides_from=None)


def _load(text: str, where: str) -> Any:
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_Strict)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise OverridesError(f"{where}{line}: no YAML ({error.problem}): correct it") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter: the 30th of February
        raise OverridesError(f"{where}: no YAML ({type(error).__name__}): correct it") from error


def _check_shape(text: str) -> None:
    """Refuse aliases, and brackets within brackets without end: both cost more time than their few bytes let expect."""
    depth = 0
    for token in yaml.scan(text, Loader=_Strict):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"more than {DEPTH} levels", token.start_mark)
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            raise yaml.constructor.ConstructorError(None, None, "anchors and aliases are not read, write the value out", token.start_mark)


def _check_names(value: Mapping[Any, Any], model: type[msgspec.Struct], where: str, path: str) -> None:
    """Refuse a field that ``model`` does not have: it would be ignored, and another model trained than was asked for."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    for name, member in value.items():
        if name not in fields:
            near = get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            raise OverridesError(f"{where}: {path}{name} is not known; {hint}")
        nested = _struct(types.type_info(fields[name].type))
        if nested is not None and isinstance(member, dict):
            _check_names(member, nested, where, f"{path}{name}.")


def _struct(kind: types.Type) -> type[msgspec.Struct] | None:
    """Return the model that a field holds, None where it holds a plain value."""
    members = kind.types if isinstance(kind, types.UnionType) else (kind,)
    return next((member.cls for member in members if isinstance(member, types.StructType)), None)


def _said(value: Any) -> Any:
    """Return what a spec says: without nulls, empty objects and empty lists."""
    if not isinstance(value, dict):
        return value
    members = {name: _said(member) for name, member in value.items()}
    return {name: member for name, member in members.items() if member not in (None, {}, [], ())}


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: _merge(below[name], member) if name in below else member for name, member in above.items()}}
