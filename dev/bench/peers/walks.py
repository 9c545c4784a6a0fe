"""``walks.py LIBRARY MATRIX``: LightGBM on five blocks in time order, each predicted from the rows before it; on one thread.

Rows and labels come from MATRIX, which the trainer's own code has written. LIBRARY is trainer (its own fit, trees exported as it does) or
qlib (Qlib's LGBModel on a DatasetH, as its examples train it; its log of metrics goes to a file). Prints the AUC of the tested rows.
"""

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS = 5


def by_trainer(data: Any) -> Callable[[Any, Any], Any]:
    """Return the trainer's fit of some rows, asked for others."""
    from walkforward_trainer.models.lgbm import fit_lightgbm  # noqa: PLC0415 - a process loads its own library only
    from walkforward_trainer.models.training import Binned, Training  # noqa: PLC0415 - the same
    from walkforward_trainer.resolved import Model  # noqa: PLC0415 - the same

    x, y = data["x"], data["y"]
    model = Model(int(data["trees"]), int(data["depth"]), float(data["rate"]), float(data["subsample"]), seed=int(data["seed"]))

    def walk(train: Any, test: Any) -> Any:
        return fit_lightgbm(Training(Binned(x[train]), y[train], np.ones(len(train))), model).native(x[test])

    return walk


def by_qlib(data: Any) -> Callable[[Any, Any], Any]:
    """Return Qlib's."""
    import pandas as pd  # noqa: PLC0415 - a process loads its own library only
    import qlib  # noqa: PLC0415 - the same
    from qlib.contrib.model.gbdt import LGBModel  # noqa: PLC0415 - the same
    from qlib.data.dataset import DatasetH  # noqa: PLC0415 - the same
    from qlib.data.dataset.handler import DataHandlerLP  # noqa: PLC0415 - the same
    from qlib.data.dataset.loader import StaticDataLoader  # noqa: PLC0415 - the same
    from qlib.workflow import R  # noqa: PLC0415 - the same

    home = Path(os.environ["HOME"])
    log = {"uri": f"sqlite:///{home / 'qlib.db'}", "default_exp_name": "bench"}
    manager = {"class": "MLflowExpManager", "module_path": "qlib.workflow.expm", "kwargs": log}
    qlib.init(provider_uri=str(home), exp_manager=manager, logging_level=40)
    stamps = pd.to_datetime(data["t0"], unit="ms")
    columns = [("feature", f"f{number}") for number in range(data["x"].shape[1])] + [("label", "LABEL0")]
    frame = pd.DataFrame(
        np.column_stack((data["x"], data["y"])),
        index=pd.MultiIndex.from_arrays([stamps, ["MADE"] * len(stamps)], names=["datetime", "instrument"]),
        columns=pd.MultiIndex.from_tuples(columns),
    )
    handler = DataHandlerLP(data_loader=StaticDataLoader(config=frame))
    depth = int(data["depth"])
    settings = {
        "max_depth": depth, "num_leaves": min(31, 2**depth), "learning_rate": float(data["rate"]), "seed": int(data["seed"]),
        "bagging_fraction": float(data["subsample"]), "bagging_freq": 1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
    }  # fmt: skip

    def walk(train: Any, test: Any) -> Any:
        segments = {name: (stamps[rows[0]], stamps[rows[-1]]) for name, rows in (("train", train), ("test", test))}
        dataset = DatasetH(handler, segments=segments)
        model = LGBModel(loss="binary", num_boost_round=int(data["trees"]), **settings)
        with R.start(experiment_name="bench"):
            model.fit(dataset, verbose_eval=0)
        return model.predict(dataset, segment="test").to_numpy()

    return walk


def main() -> None:
    """Fit and print."""
    library, path = sys.argv[1:]
    with np.load(path) as kept:
        data = dict(kept)
    walk = {"trainer": by_trainer, "qlib": by_qlib}[library](data)
    y, gap = data["y"], int(data["gap"])
    edges = np.linspace(0, len(y), BLOCKS + 2).astype(int)[1:]
    score = np.full(len(y), np.nan)
    for start, end in pairwise(edges):
        test = np.arange(start, end)
        score[test] = walk(np.arange(start - gap), test)
    tested = np.isfinite(score)
    print(area(y[tested], score[tested]))


def area(y: Any, score: Any) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties half."""
    positive, negative = np.sort(score[y == 1]), score[y == 0]
    below = np.searchsorted(positive, negative, side="left")
    up_to = np.searchsorted(positive, negative, side="right")
    return float(1 - (below + up_to).mean() / 2 / len(positive))


if __name__ == "__main__":
    main()
