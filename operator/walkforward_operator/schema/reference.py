"""The reference page of a kind: every field, its type, bounds and default, and every rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from walkforward_core import names
from walkforward_core.api import fields
from walkforward_operator.schema.crd import crd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_operator.schema.kinds import Column, Kind

__all__ = ["page"]

_NESTED_DEFAULT = "as below"
_TYPES: dict[str, tuple[Any, str]] = {
    "duration": (fields.Duration, "`90s`, `30m`, `1h30m`, `14d`, `80ms`"),
    "percentage": (fields.Percent, "`1%`, `0.1%`"),
    "name": (fields.Name, "up to 63 lower case letters, digits and hyphens"),
    "address": (fields.Uri, "`s3://bucket/prefix`"),
    "instant": (fields.Timestamp, "RFC 3339 in UTC, `2026-01-31T13:00:00Z`"),
    "cron": (fields.CronExpression, "minute, hour, day of month, month, day of week: `0 13 * * MON-FRI`"),
    "time zone": (fields.TimeZone, "of the IANA table: `Etc/UTC`, `America/New_York`"),
    "quantity": (fields.Quantity, 'as in a pod, in quotes where it is a bare number: `500m`, `"2"`, `4Gi`'),
}
"""Words for the patterns that many fields share: their name, their type and how they are written."""
_WORDS = {written.__metadata__[0].pattern: word for word, (written, _) in _TYPES.items()}


def page(kind: Kind) -> str:
    """Return the page as Markdown."""
    root = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    sections = [*_objects("spec", root["properties"]["spec"]), *_objects("status", root["properties"]["status"])]
    return "\n".join([*_head(kind, root), *(line for path, schema in sections for line in _section(path, schema))]).rstrip() + "\n"


def _head(kind: Kind, root: dict[str, Any]) -> list[str]:
    columns = ", ".join(f"`{column.name.upper()}`" for column in kind.columns if not column.wide)
    wide = ", ".join(f"`{column.name.upper()}`" for column in kind.columns if column.wide)
    what = f"`{names.GROUP}/{names.VERSION}`, namespaced; `kubectl get {kind.plural}`, short `{kind.short_name}`, category `walkforward`."
    return [
        "<!-- Made by `python -m walkforward_operator.schema` from the typed models in core/walkforward_core/api; do not edit. -->",
        "",
        f"# {kind.kind}",
        "",
        f"{root['description']} {what}",
        "",
        f"`kubectl get` shows {columns}; `-o wide` adds {wide}. `kubectl explain {kind.singular}.spec` shows what stands here.",
        "",
        *_columns(kind.columns),
        "",
        "```yaml",
        kind.example.rstrip(),
        "```",
        "",
        "Rules of the object itself:",
        "",
        *(f"- {rule.message}" for rule in kind.rules),
        "",
        "Types that many fields share:",
        "",
        *(f"- **{word}**: {how}{_messages(written)}" for word, (written, how) in _TYPES.items()),
        "",
    ]


def _messages(written: Any) -> str:
    rules = (written.__metadata__[0].extra_json_schema or {}).get("x-kubernetes-validations", ())
    return "".join(f"; {rule['message']}" for rule in rules)


def _columns(columns: tuple[Column, ...]) -> list[str]:
    rows = [f"| `{column.name.upper()}` | {column.description} | `{column.path}` |" for column in columns]
    return ["| column | meaning | where it comes from |", "|---|---|---|", *rows]


def _objects(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object with fields of its own, outermost first."""
    if "properties" not in schema:
        return
    yield path, schema
    for name, field in schema["properties"].items():
        inner, where = field, f"{path}.{name}"
        while inner.get("type") == "array" or "additionalProperties" in inner:
            inner, where = (inner["items"], f"{where}[]") if "items" in inner else (inner["additionalProperties"], f"{where}.*")
        yield from _objects(where, inner)


def _section(path: str, schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    rows = [_row(name, field, required=name in required) for name, field in schema["properties"].items()]
    own = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
    of_fields = [
        f"`{name}`: {rule['message']}"
        for name, field in schema["properties"].items()
        if "properties" not in field and field.get("pattern") not in _WORDS
        for rule in field.get("x-kubernetes-validations", [])
    ]
    rules = ["", "Refused otherwise:", "", *(f"- {message}" for message in [*own, *of_fields])] if own or of_fields else []
    return [f"## {path}", "", "| field | type | default | meaning |", "|---|---|---|---|", *rows, *rules, ""]


def _row(name: str, field: dict[str, Any], *, required: bool) -> str:
    default = "**required**" if required else _default(field)
    return f"| `{name}` | {_type(field)} | {default} | {_cell(field['description'])} |"


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return ""
    if field["type"] == "object" and "properties" in field:
        return _NESTED_DEFAULT if field["default"] else ""
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " · ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type", "any")
    if kind == "array":
        return f"list of {_type(field['items'])}{_limit(field, 'Items')}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    if field.get("pattern") in _WORDS:
        return _WORDS[field["pattern"]]
    return _cell(f"{kind}{_range(field)}{_limit(field, 'Length')}{_pattern(field)}")


def _range(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    left = "" if low is None else f"{'>' if field.get('exclusiveMinimum') else '≥'} {low:g}"
    right = "" if high is None else f"{'<' if field.get('exclusiveMaximum') else '≤'} {high:g}"
    bounds = ", ".join(bound for bound in (left, right) if bound)
    return f" {bounds}" if bounds else ""


def _limit(field: dict[str, Any], what: str) -> str:
    limit = field.get(f"max{what}")
    return "" if limit is None else f", at most {limit}"


def _pattern(field: dict[str, Any]) -> str:
    return f", `{field['pattern']}`" if "pattern" in field else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
