"""Fits side by side: as many as the container may run, in order, and none begun after one has failed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from walkforward_trainer.parallel import side_by_side, workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("160000 100000", 2), ("6400000 100000", 8), ("nonsense", 8), (None, 8)],
)
def test_as_many_as_the_container_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert workers(tmp_path / "cpu.max") == expected


def test_results_are_in_the_order_of_the_jobs() -> None:
    later = threading.Event()

    def first() -> str:
        assert later.wait(10)
        return "first"

    def second() -> str:
        later.set()
        return "second"

    assert side_by_side([first, second], 2) == ["first", "second"]


def test_what_has_not_begun_does_not_begin_after_an_error() -> None:
    begun = []

    def fails() -> None:
        raise ValueError("no rows")

    def long() -> None:
        begun.append(1)
        time.sleep(0.05)

    with pytest.raises(ValueError, match="no rows"):
        side_by_side([fails, *[long] * 100], 1)
    assert len(begun) < 100
