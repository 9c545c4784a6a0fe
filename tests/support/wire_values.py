"""Values of the documents' types, field by field, for hypothesis."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from hypothesis import strategies as st
from msgspec import structs

from walkforward_core.documents import Part


def values(kind: Any, fixed: dict[str, st.SearchStrategy[Any]] | None = None) -> st.SearchStrategy[Any]:
    """Values of a type: floats finite, sizes small, ``schema`` as the document sets it; ``fixed`` gives ``field`` or ``Struct.field``."""
    fixed = fixed or {}
    if inspect.isclass(kind) and issubclass(kind, Part):
        types = typing.get_type_hints(kind)
        names = [field.name for field in structs.fields(kind) if field.name != "schema"]
        chosen = {name: fixed.get(f"{kind.__name__}.{name}", fixed.get(name)) for name in names}
        return st.builds(kind, **{name: values(types[name], fixed) if given is None else given for name, given in chosen.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return values(arguments[0], fixed)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0], fixed), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(one, fixed) for one in arguments))
    if origin is dict:
        return st.dictionaries(values(arguments[0], fixed), values(arguments[1], fixed), max_size=2)
    if arguments:
        return st.one_of(*(values(one, fixed) for one in arguments))
    plain = {int: st.integers(-(2**63), 2**63 - 1), float: st.floats(allow_nan=False, allow_infinity=False), str: st.text(max_size=8)}
    return plain[kind] if kind in plain else st.from_type(kind)
