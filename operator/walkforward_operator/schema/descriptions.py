"""Docstrings under fields and enum members, which Python itself does not keep."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

__all__ = ["SchemaError", "field_descriptions", "summary"]

_FOREIGN = {"builtins", "msgspec"}


class SchemaError(Exception):
    """A model that no complete schema can be made from; the message says which field and what to add."""


@cache
def field_descriptions(model: type) -> dict[str, str]:
    """Return the docstring of every documented attribute of ``model`` and its bases, by attribute name.

    White space is folded, so that a description is one paragraph.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.partition(".")[0] not in _FOREIGN:
            found |= _in_source(inspect.getsource(base))
    return found


def summary(model: type) -> str:
    """Return the docstring of ``model`` itself as one paragraph."""
    return _fold(inspect.getdoc(model) or "")


def _in_source(source: str) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(source)).body[0]
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    found: dict[str, str] = {}
    for statement, following in pairwise(statements):
        name = _assigned(statement)
        text = _text(following)
        if name is not None and text is not None:
            found[name] = _fold(text)
    return found


def _assigned(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return None


def _text(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
        case _:
            return None


def _fold(text: str) -> str:
    return " ".join(text.split())
