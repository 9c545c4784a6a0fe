"""The demo's time counts as cold or warm by what had to be built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from walkforward_cluster import binaries, images
from walkforward_demo import clock

if TYPE_CHECKING:
    from pathlib import Path

ALL = ("binaries", *images.PARTS)


@pytest.mark.parametrize(
    ("made", "kind"), [((), "warm"), (ALL, "cold"), (("server",), "partly"), (images.PARTS, "partly"), (("binaries",), "partly")]
)
def test_cold_is_everything_built_and_warm_nothing(
    made: tuple[str, ...], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archives = tmp_path / "cache" / "walkforward" / "images"
    for part in images.PARTS:
        (archives / part).mkdir(parents=True)
    (archives / "server" / "older.tar").touch()
    running = clock.Clock()
    for name in made:
        place = binaries.folder() / ".complete" if name == "binaries" else archives / name / "new.tar"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    running.built()
    running.keep(tmp_path)
    kept = json.loads((tmp_path / f"demo-{kind}.json").read_text())
    assert kept["figures"]["warm"] is (kind == "warm")
    assert len(kept["figures"]["built"]) == len(made)
    assert 0 <= kept["figures"]["seconds"] < 60
