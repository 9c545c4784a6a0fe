"""How often the default gates of a recipe publish a model of a market in which nothing can be known, and of one in which something can.

Each seed is a market of its own and a whole run of its own, in process: data, quality, features, labels, folds, search, calibration,
evidence, leak detector, gates. Models are smaller than a recipe's own (fewer trees, trials and rows), so that hundreds of runs take
minutes; the gates are the recipe's. Markets without an edge keep their volatility clusters and heavy tails: GARCH(1,1) with Student's t.

None of 300 published shows, with 95 % confidence, that at most 1 % are; a recipe that is expected to publish a few of a thousand by luck
needs more (``Case.seeds``). The numbers are fixed before the measurement.

    PYTHONPATH=dev/bench:tests/support python -m walkforward_bench.no_edge [RECIPE …]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from made_runs import CASES, once
from scipy.stats import binomtest

from walkforward_core.runs import RunVerdict

__all__ = ["measure", "upper"]


def measure(name: str, seeds: int | None, planted: int, *, workers: int = 2) -> dict[str, Any]:
    """Return how many of ``seeds`` markets (None: the case's own) without and ``planted`` with an edge were published, and why not."""
    seeds = CASES[name].seeds if seeds is None else seeds
    found: dict[str, Any] = {"recipe": name, "note": CASES[name].note}
    # not by fork: the threads of polars in the parent would leave their locks taken in the child for ever
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for label, edge, count in (("withoutEdge", 0.0, seeds), ("withEdge", CASES[name].edge, planted)):
            runs = list(pool.map(_run, [(name, seed, edge) for seed in range(count)], chunksize=4))
            verdicts = Counter(verdict for verdict, _ in runs)
            published = verdicts[RunVerdict.PUBLISHED]
            found[label] = {
                "verdicts": dict(verdicts),
                "seeds": count,
                "published": published / count,
                "upTo": upper(published, count),
                "gates": dict(Counter(gate for verdict, said in runs if verdict == RunVerdict.REJECTED for gate in said.split())),
                "failures": sorted({said for verdict, said in runs if verdict == RunVerdict.FAILED})[:3],
            }
    return found


def _run(job: tuple[str, int, float]) -> tuple[str, str]:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        return once(*job, Path(folder))


def upper(hits: int, n: int) -> float:
    """Return the largest rate that shows ``hits`` of ``n`` or fewer in one of twenty measurements (Clopper & Pearson 1934).

    >>> round(upper(0, 299), 4), round(upper(1, 200), 4)
    (0.01, 0.0235)
    """
    return float(binomtest(hits, n).proportion_ci(0.90, method="exact").high)


def main(arguments: list[str]) -> int:
    """Print one line of JSON for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="markets without an edge (default: each case's own)")
    parser.add_argument("--planted", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("recipes", nargs="*", default=list(CASES))
    options = parser.parse_args(arguments)
    for name in options.recipes or CASES:
        print(json.dumps(measure(name, options.seeds, options.planted, workers=options.workers)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
