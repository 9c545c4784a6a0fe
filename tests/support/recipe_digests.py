"""Runs every recipe on a small made market and prints the digests of its bundle: ``python recipe_digests.py abc`` or ``cba``.

The letters are the order in which the files of the data come into being: a folder lists them as it likes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from made_runs import CASES, asked

from walkforward_trainer.pipeline import execute

SMALL = CASES | {
    # windows just long enough; what is published is not the question here
    "multi-timeframe": replace(
        CASES["multi-timeframe"], data=CASES["multi-timeframe"].data | {"windowBars": 1_000}, overrides={"model": {"trees": 5}}
    ),
    "daily-ensemble": replace(
        CASES["daily-ensemble"],
        data=CASES["daily-ensemble"].data | {"windowBars": 520},
        overrides={"model": {"trees": 5}, "tuning": {"trials": 1}, "features": ["ret_1", "ret_5", "rsi_14", "atr_14", "adx_14"]},
    ),
}
ANYTHING = {"auc": {"min": 0.51}}


def parts(path: Path, order: str) -> str:
    """Put the rows of ``path``, whose first line is a header where it is CSV, into three files and return their address."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[:1] if path.suffix == ".csv" else []
    rows = lines[len(header) :]
    folder = path.parent / "parts"
    folder.mkdir()
    for letter in order:
        at = "abc".index(letter)
        chosen = rows[at * len(rows) // 3 : (at + 1) * len(rows) // 3]
        (folder / f"{letter}{path.suffix}").write_text("\n".join([*header, *chosen]) + "\n", encoding="utf-8")
    path.unlink()
    return f"{folder.as_uri()}/*{path.suffix}"


def digests(name: str, order: str) -> dict[str, str]:
    """Return the digest of every file of the recipe's bundle."""
    case = replace(SMALL[name], gates=ANYTHING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path, as_of = case.write(folder, 3, case.edge)
        # the feature logger writes one file
        uri = path.as_uri() if path.suffix == ".log" else parts(path, order)
        result, _ = execute(asked(case, uri, as_of, folder), allow_file=True, now_ms=as_of)
        files = sorted((folder / "models" / result.version).iterdir()) if result.version else []
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files} or {"failed": result.message}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps({name: digests(name, sys.argv[1]) for name in SMALL}))
