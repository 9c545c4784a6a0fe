"""``walks.py LIBRARY MATRIX``: LightGBM on five blocks in time order, each predicted from the rows before it; on one thread.

Rows and labels come from MATRIX, which the trainer's own code has written. LIBRARY is trainer (its own fit, trees exported as it does),
qlib (Qlib's LGBModel on a DatasetH, as its examples train it; its log of metrics goes to a file), freqai (FreqAI's LightGBMClassifier
with its data kitchen, by the calls of its own backtest) or scaled (LightGBM alone on columns scaled as FreqAI's are). Prints the seconds
of fits and answers, without starting, and the AUC of the tested rows.
"""

import os
import sys
import time
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


def by_freqai(data: Any) -> Callable[[Any, Any], Any]:
    """Return FreqAI's: what ``IFreqaiModel.start_backtesting`` calls for a window, but that the windows are ours and no model is kept.

    Features are named as a strategy names them (``%-``), so are the labels (``&-``), whose classes are words. No exchange is asked: neither
    data kitchen nor model needs one.
    """
    import pandas as pd  # noqa: PLC0415 - a process loads its own library only
    from freqtrade.freqai.data_kitchen import FreqaiDataKitchen  # noqa: PLC0415 - the same
    from freqtrade.freqai.prediction_models.LightGBMClassifier import LightGBMClassifier  # noqa: PLC0415 - the same

    pair, width = "MADE/USD", data["x"].shape[1]
    home = Path(os.environ["HOME"])
    # the data kitchen keeps a copy beside its models
    (home / "freqai.json").write_text("{}")
    config = {
        "config_files": [str(home / "freqai.json")],
        "timeframe": "5m",
        "timerange": "20200102-20200103",
        "user_data_dir": home,
        "exchange": {"pair_whitelist": [pair]},
        "freqai": {
            "identifier": "bench",
            "train_period_days": 1,
            "backtest_period_days": 1,
            "activate_tensorboard": False,
            "feature_parameters": {"include_timeframes": ["5m"], "include_corr_pairlist": [], "shuffle_after_split": False},
            "data_split_parameters": {"test_size": 0, "shuffle": False},
            "model_training_parameters": in_scikit_words(data),
        },
    }
    model, kitchen = LightGBMClassifier(config), FreqaiDataKitchen(config, live=False, pair=pair)
    frame = pd.DataFrame(data["x"], columns=[f"%-f{number}" for number in range(width)])
    frame.insert(0, "date", pd.to_datetime(data["t0"], unit="ms", utc=True))
    frame["&-up"] = np.where(data["y"] == 1, "up", "down")

    def walk(train: Any, test: Any) -> Any:
        learned, asked = (frame.iloc[rows].reset_index(drop=True) for rows in (train, test))
        kitchen.get_unique_classes_from_labels(learned)
        kitchen.find_features(learned)
        kitchen.find_labels(learned)
        model.model = model.train(learned, pair, kitchen)
        found, _ = model.predict(asked, kitchen)
        return kitchen.get_predictions_to_append(found, kitchen.do_predict, asked)["up"].to_numpy()

    return walk


def by_scaled(data: Any) -> Callable[[Any, Any], Any]:
    """Return LightGBM's on columns scaled to [-1, 1] by the training rows, as FreqAI scales them."""
    from lightgbm import LGBMClassifier  # noqa: PLC0415 - a process loads its own library only
    from sklearn.preprocessing import MinMaxScaler  # noqa: PLC0415 - the same

    x, y = data["x"], data["y"]

    def walk(train: Any, test: Any) -> Any:
        scaler = MinMaxScaler(feature_range=(-1, 1)).fit(x[train])
        model = LGBMClassifier(**in_scikit_words(data)).fit(scaler.transform(x[train]), y[train])
        return model.booster_.predict(scaler.transform(x[test]))

    return walk


def in_scikit_words(data: Any) -> dict[str, Any]:
    """Return the hyper-parameters by the names that LightGBM's scikit-learn interface has for them."""
    depth = int(data["depth"])
    return {
        "n_estimators": int(data["trees"]), "max_depth": depth, "num_leaves": min(31, 2**depth), "learning_rate": float(data["rate"]),
        "subsample": float(data["subsample"]), "subsample_freq": 1, "random_state": int(data["seed"]), "n_jobs": 1, "deterministic": True,
        "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip


def main() -> None:
    """Fit and print."""
    library, path = sys.argv[1:]
    with np.load(path) as kept:
        data = dict(kept)
    walk = {"trainer": by_trainer, "qlib": by_qlib, "freqai": by_freqai, "scaled": by_scaled}[library](data)
    began = time.perf_counter()
    y, gap = data["y"], int(data["gap"])
    edges = np.linspace(0, len(y), BLOCKS + 2).astype(int)[1:]
    score = np.full(len(y), np.nan)
    for start, end in pairwise(edges):
        test = np.arange(start, end)
        score[test] = walk(np.arange(start - gap), test)
    took = time.perf_counter() - began
    tested = np.isfinite(score)
    print(took, area(y[tested], score[tested]))


def area(y: Any, score: Any) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties half."""
    positive, negative = np.sort(score[y == 1]), score[y == 0]
    below = np.searchsorted(positive, negative, side="left")
    up_to = np.searchsorted(positive, negative, side="right")
    return float(1 - (below + up_to).mean() / 2 / len(positive))


if __name__ == "__main__":
    main()
