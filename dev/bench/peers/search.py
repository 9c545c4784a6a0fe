"""``search.py SPEC``: one search of hyper-parameters by the trainer's own code, on every row of the window; prints JSON."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from walkforward_trainer.data.sources import Access
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import load
from walkforward_trainer.tuning import search


def main() -> None:
    """Search and print."""
    now_ms = time.time_ns() // 1_000_000
    run = load(Path(sys.argv[1]), now_ms=now_ms)
    plan = make_plan(run)
    rows = prepare(run, plan, Access(allow_file=True), now_ms=now_ms).rows
    wall, cpu = time.perf_counter(), time.process_time()
    found = search(rows, np.arange(len(rows), dtype=np.intp), plan)
    took = {"search_s": time.perf_counter() - wall, "search_cpu_s": time.process_time() - cpu}
    print(json.dumps({"rows": len(rows), "trials": found.trials, "pruned": found.pruned, "score": found.score, **took}))


if __name__ == "__main__":
    main()
