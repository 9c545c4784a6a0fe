"""msgspec models as structural OpenAPI v3 schemas, complete enough for ``kubectl explain``, defaulting and CEL.

Every field has a description, every string, list and map of a spec a bound: without one the API server's cost estimate of a CEL
rule has no end and the CRD is refused. Fields that exist only to be refused with a message keep what is in them
(``dict[str, Any]``), so that pruning does not hide them from the rule.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect as types

from walkforward_core.api.cel import Cel
from walkforward_operator.schema.descriptions import SchemaError, field_descriptions

__all__ = ["Schema", "default_of", "openapi"]

Schema = dict[str, Any]
_RULES = "x-kubernetes-validations"
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_BOUNDS = {"ge": "minimum", "gt": "minimum", "le": "maximum", "lt": "maximum"}


def openapi(model: type[msgspec.Struct], *, strict: bool) -> Schema:
    """Return the schema of ``model``; ``strict`` is for what people write: limits, defaults and rules.

    A status has none of these, and keeps fields that the schema does not know yet: the operator alone writes it, and a write that is
    refused, because a text is long or because the CRDs are a version older, would cost it its memory.

    Raises
    ------
    SchemaError
        A field has no description, no limit or a type that CRDs do not know.
    """
    return _of(types.type_info(model), model.__name__, strict=strict)


def default_of(field: types.Field) -> Any:
    """Return the field's default as JSON, with what is None or empty left out; None where the field has no default."""
    if field.default_factory is not msgspec.NODEFAULT:
        return _plain(field.default_factory())
    return None if field.default is msgspec.NODEFAULT else _plain(field.default)


def _of(kind: types.Type, path: str, *, strict: bool) -> Schema:
    match kind:
        case types.Metadata(type=inner, extra_json_schema=extra):
            return _merged(_of(inner, path, strict=strict), (extra or {}) if strict else {})
        case types.UnionType(types=members):
            return _of(_only(members, path), path, strict=strict)
        case types.StructType():
            return _object(kind, path, strict=strict)
        case types.VarTupleType() | types.ListType():
            return _list(kind, path, strict=strict)
        case types.DictType():
            return _map(kind, path, strict=strict)
        case types.StrType():
            return _string(kind, path, strict=strict)
        case _:
            return _scalar(kind, path, strict=strict)


def _scalar(kind: types.Type, path: str, *, strict: bool) -> Schema:
    match kind:
        case types.EnumType(cls=members):
            return {"type": "string", "enum": [member.value for member in members]}
        case types.BoolType():
            return {"type": "boolean"}
        case types.IntType():
            return {"type": "integer", "format": "int64", **(_bounds(kind) if strict else {})}
        case types.FloatType():
            return {"type": "number", "format": "double", **(_bounds(kind) if strict else {})}
        case _:
            raise SchemaError(
                f"{path}: {type(kind).__name__} has no place in a CRD; use a Struct, enum, str, int, float, bool, list or dict"
            )


def _object(kind: types.StructType, path: str, *, strict: bool) -> Schema:
    described = field_descriptions(kind.cls)
    properties: dict[str, Schema] = {}
    for field in kind.fields:
        where = f"{path}.{field.encode_name}"
        if not described.get(field.name):
            raise SchemaError(f"{where}: no description; write a docstring under the field in {kind.cls.__module__}.{kind.cls.__name__}")
        properties[field.encode_name] = _property(field, described[field.name], where, strict=strict)
    required = [field.encode_name for field in kind.fields if field.required]
    rules = [rule.schema() for rule in getattr(kind.cls, "RULES", ()) if strict and isinstance(rule, Cel)]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": properties,
        **({} if strict else {"x-kubernetes-preserve-unknown-fields": True}),
        **({_RULES: rules} if rules else {}),
    }


def _property(field: types.Field, description: str, path: str, *, strict: bool) -> Schema:
    schema = {"description": description, **_of(field.type, path, strict=strict)}
    if field.encode_name == "conditions":
        # the API conventions: conditions are a map by type, so that two writers can each apply their own
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    default = default_of(field) if strict else None
    return schema if default in _NOTHING else {**schema, "default": default}


def _only(members: tuple[types.Type, ...], path: str) -> types.Type:
    kinds = [member for member in members if not isinstance(member, types.NoneType)]
    if len(kinds) != 1:
        raise SchemaError(f"{path}: a union of several types has no structural schema; write one optional field for each")
    return kinds[0]


def _bounds(kind: types.IntType | types.FloatType) -> Schema:
    schema: Schema = {}
    for name, keyword in _BOUNDS.items():
        limit = getattr(kind, name)
        if limit is not None:
            schema[keyword] = limit
            if name in ("gt", "lt"):
                schema[f"exclusive{keyword.capitalize()}"] = True
    return schema


def _string(kind: types.StrType, path: str, *, strict: bool) -> Schema:
    # a pattern without an unstrict repetition would do, but nobody should have to work that out
    if not strict:
        return {"type": "string"}
    if kind.max_length is None:
        raise SchemaError(f"{path}: a string without max_length; CEL rules over it would cost too much")
    found = {"minLength": kind.min_length, "maxLength": kind.max_length, "pattern": kind.pattern}
    return {"type": "string", **{name: value for name, value in found.items() if value is not None}}


def _list(kind: types.VarTupleType | types.ListType, path: str, *, strict: bool) -> Schema:
    if strict and kind.max_length is None:
        raise SchemaError(f"{path}: a list without max_length; CEL rules over it would cost too much")
    found = {"minItems": kind.min_length, "maxItems": kind.max_length} if strict else {}
    return {
        "type": "array",
        **{name: value for name, value in found.items() if value is not None},
        "x-kubernetes-list-type": "atomic",
        "items": _of(kind.item_type, f"{path}[]", strict=strict),
    }


def _map(kind: types.DictType, path: str, *, strict: bool) -> Schema:
    if isinstance(kind.value_type, types.AnyType):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if strict and kind.max_length is None:
        raise SchemaError(f"{path}: a map without max_length; CEL rules over it would cost too much")
    limit = {"maxProperties": kind.max_length} if strict else {}
    return {"type": "object", **limit, "additionalProperties": _of(kind.value_type, f"{path}.*", strict=strict)}


def _merged(schema: Schema, extra: Schema) -> Schema:
    rules = [*schema.get(_RULES, []), *extra.get(_RULES, [])]
    merged = {**schema, **extra}
    if "properties" in extra:
        merged.pop("x-kubernetes-preserve-unknown-fields", None)
    return {**merged, _RULES: rules} if rules else merged


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON; what is None or empty is left out, so that objects are stored without noise."""
    return _filled(msgspec.to_builtins(value, enc_hook=_enum))


def _enum(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise NotImplementedError(type(value))


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        members = {name: _filled(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in _NOTHING}
    return [_filled(member) for member in value] if isinstance(value, (list, tuple)) else value
