"""A feature that was written after the answer was known is named, whatever else the data hold."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_runs import CASES, asked
from planted import MINUTE, write_trades
from sklearn.metrics import roc_auc_score

from walkforward_trainer.pipeline import execute
from walkforward_trainer.telling import telling

if TYPE_CHECKING:
    from pathlib import Path


def rows(y: np.ndarray, **columns: np.ndarray) -> Any:
    x = np.column_stack(list(columns.values())).astype(np.float32)
    return SimpleNamespace(x=x, y=y, names=tuple(columns), known=np.isfinite(y))


def test_the_feature_is_named_with_its_area_in_either_direction() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(2_000) > 0.4).astype(float)
    strong, weak = y + rng.normal(0, 0.4, 2_000), y + rng.normal(0, 1.0, 2_000)
    found = telling(rows(y, weak=weak, strong=strong, turned=-strong, nothing=rng.random(2_000)))
    assert found.keys() == {"strong", "turned"}
    area = roc_auc_score(y, strong.astype(np.float32))
    assert area < 0.99
    assert list(found.values()) == pytest.approx([area, area])


def test_rows_without_answer_or_value_say_nothing() -> None:
    y = np.tile([0.0, 1.0, np.nan], 100)
    late = np.where(np.isnan(y), 5.0, y)
    late[::7] = np.nan
    assert telling(rows(y, late=late)) == {"late": 1.0}
    # nineteen rows of an answer may be apart by chance
    few = np.concatenate((np.ones(19), np.zeros(200)))
    assert telling(rows(few, few=few)) == {}
    assert telling(rows(np.full(50, np.nan), none=np.ones(50))) == {}


def test_of_three_classes_down_is_held_against_up() -> None:
    y = np.tile([0.0, 1.0, 2.0], 100)
    assert telling(rows(y, up=(y == 2).astype(float), neutral=(y == 1).astype(float))) == {"up": 1.0}


def test_a_log_whose_features_know_the_result_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_trades(tmp_path / "trades.jsonl", 1, 300)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert not notes_of(path, records, tmp_path / "honest")
    with caplog.at_level(logging.WARNING, "walkforward.trainer"):
        notes = notes_of(path, [record | {"f_exit": record["pnl_pct"] + 5.0} for record in records], tmp_path / "late")
    assert notes == ["f_exit"]
    assert "By itself each of these features tells the answer better than any market lets it: f_exit (AUC 0.99" in caplog.text


def notes_of(path: Path, records: list[dict[str, Any]], folder: Path) -> list[str]:
    """Run on the trades, and return which features the report names."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    as_of = records[-1]["closed_at"] + MINUTE
    execute(asked(CASES["risk-filter"], path.as_uri(), as_of, folder), allow_file=True, now_ms=as_of)
    (report,) = (folder / "models").rglob("report.json")
    notes = "".join(json.loads(report.read_bytes())["notes"])
    return [name for name in records[0] if name.startswith("f_") and f"{name} (AUC" in notes]
