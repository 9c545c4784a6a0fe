"""The style of the page, from ``style.css`` beside this file."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["style"]


def style() -> str:
    """Return the style sheet without comments and needless white space."""
    text = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", bare).strip()
