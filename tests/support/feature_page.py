"""The tables of docs/reference/features.md, written from the code: ``python tests/support/feature_page.py`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_core.features import FEATURES, SETS, Of, lookback

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "features.md"
BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return the page with what stands between its markers written anew."""
    made = {"sets": _sets(), "bars": _features(Of.BARS), "samples": _features(Of.SAMPLES)}
    return BLOCK.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[3]}", text)


def _sets() -> str:
    rows = [(f"`{name}`", str(len(names)), str(lookback(names)), ", ".join(f"`{one}`" for one in names)) for name, names in SETS.items()]
    return _table(("set", "features", "warm-up", "in the order of the columns"), rows)


def _features(of: Of) -> str:
    rows = []
    for name, feature in FEATURES.items():
        if feature.of is of:
            within = ", ".join(f"`{one}`" for one, names in SETS.items() if name in names)
            rows.append((f"`{name}`", str(feature.lookback), feature.meaning.replace("|", "\\|"), within))
    return _table(("feature", "look-back", "meaning", "sets"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *rows])


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
