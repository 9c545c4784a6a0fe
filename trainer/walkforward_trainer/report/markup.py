"""Markup that is escaped unless it was made here: a name that a user has given can never become a tag."""

from __future__ import annotations

import re
from html import escape
from typing import Final

__all__ = ["EMPTY", "Markup", "el", "join", "text"]

UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Characters that HTML forbids, and those that turn the direction of writing: a name could show what it is not."""
VOID: Final = frozenset({"meta", "link", "br"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


EMPTY: Final = Markup()


def text(value: object) -> Markup:
    """Return ``value`` as escaped text; what is markup already stays as it is.

    >>> str(text("<b onclick='x'>"))
    '&lt;b onclick=&#x27;x&#x27;&gt;'
    """
    if isinstance(value, Markup):
        return value
    return Markup(escape(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def el(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return the element ``name``; ``class_`` is the attribute class, ``aria_label`` aria-label; None leaves an attribute out.

    >>> str(el("td", "a < b", class_="n"))
    '<td class="n">a &lt; b</td>'
    """
    given = "".join(f' {_attribute(key)}="{text(_number(value))}"' for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{''.join(text(child) for child in children)}</{name}>")


def join(*parts: object) -> Markup:
    """Return ``parts`` one after another."""
    return Markup("".join(text(part) for part in parts))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _number(value: object) -> object:
    """Return a coordinate with one decimal: a tenth of a pixel is enough, and half the bytes."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value
