"""docs/reference/features.md says what the code says."""

from __future__ import annotations

import feature_page


def test_the_page_is_written_from_the_code() -> None:
    text = feature_page.PAGE.read_text(encoding="utf-8")
    assert [match[2] for match in feature_page.BLOCK.finditer(text)] == ["sets", "bars", "samples"]
    assert text == feature_page.filled(text), "run python tests/support/feature_page.py"
