"""``python -m walkforward_trainer.recipes PAGE``: writes the tables of docs/reference/recipes.md from the recipes themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from walkforward_core.api.data import DataSpec
from walkforward_core.api.defaults import effective_gates
from walkforward_core.api.retrain import Artifacts, RetrainSpec
from walkforward_core.offline import limits_of
from walkforward_trainer.recipes.multi_timeframe import MULTI_TIMEFRAME, ROLES
from walkforward_trainer.recipes.table import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from walkforward_trainer.recipes.recipe import Recipe

__all__ = ["written"]

END: Final = "<!-- end -->"


def written(page: str) -> str:
    """Return ``page`` with its tables as the recipes are now."""
    for name, table in (("table", _recipes()), ("gates", _gates()), ("timeframes", _timeframes())):
        before, mark, rest = page.partition(f"<!-- recipes: {name} -->\n")
        page = f"{before}{mark}\n{table}\n\n{END}{rest.partition(END)[2]}"
    return page


def _recipes() -> str:
    rows = [
        [
            f"`{name}`",
            recipe.kind,
            str(len(recipe.features) or "of the data"),
            _target(recipe),
            " + ".join(recipe.models),
            f"{recipe.join} {':'.join(f'{weight:g}' for weight in recipe.weights)}".strip() if len(recipe.models) > 1 else "–",
            recipe.calibration,
            _validation(recipe),
        ]
        for name, recipe in BUILT_IN.items()
    ]
    return _markdown(("recipe", "rows", "features", "target", "models", "joined by", "calibration", "validation"), rows)


def _target(recipe: Recipe) -> str:
    heads = f"; heads {', '.join(head.name for head in recipe.heads)}" if recipe.heads else ""
    return f"{recipe.target.kind}{heads}"


def _validation(recipe: Recipe) -> str:
    plan = recipe.validation
    if plan.scheme == "Holdout":
        rest = 1 - plan.train_share - plan.calibration_share
        calibrated = f" / {plan.calibration_share:.0%}" if plan.calibration_share else ""
        return f"Holdout {plan.train_share:.0%}{calibrated} / {rest:.0%}, embargo {plan.embargo}"
    return f"{plan.scheme} {plan.folds}, embargo {plan.embargo}"


def _timeframes() -> str:
    rows = []
    for timeframe, profile in MULTI_TIMEFRAME.profiles.items():
        data = DataSpec(uri="s3://bars/", symbols=("X",), timeframe=timeframe, window="90d")
        limits = effective_gates(RetrainSpec(recipe="multi-timeframe", data=data, artifacts=Artifacts(uri="s3://models/"))).distribution
        shares = profile.target.class_target
        if limits is None or shares is None:  # every profile has both; the types do not know
            raise ValueError(f"multi-timeframe, {timeframe}: no class target or no limits")
        rows.append(
            [
                timeframe,
                ROLES[timeframe],
                f"{profile.target.horizon_bars} bars",
                f"{profile.target.threshold:g} σ of {profile.target.volatility_bars} bars",
                f"{shares.down:.0%} / {shares.neutral:.0%} / {shares.up:.0%}",
                f"≥ {limits.min_conf_mean:.2f}",
                f"≥ {limits.min_eligibility_pct:.0%}",
                profile.quality.max_staleness,
                " ".join(f"`{feature}`" for feature in profile.features),
            ]
        )
    head = (
        "`timeframe`",
        "role",
        "horizon",
        "threshold",
        "class target down / neutral / up",
        "mean confidence",
        "eligible",
        "newest bar",
        "features",
    )
    return _markdown(head, rows)


def _gates() -> str:
    rows = []
    for name in BUILT_IN:
        for timeframe in ("5m", "1h", "12h", "1d") if name == "multi-timeframe" else ("1h",):
            data = DataSpec(uri="s3://bars/", symbols=("X",), timeframe=timeframe, window="90d")
            spec = RetrainSpec(recipe=name, data=data, artifacts=Artifacts(uri="s3://models/"))
            limits = ", ".join(f"{gate} {'≥' if floor else '≤'} {limit:g}" for gate, limit, floor in limits_of(effective_gates(spec)))
            rows.append([f"`{name}`{f', {timeframe}' if name == 'multi-timeframe' else ''}", limits])
    return _markdown(("recipe", "gates"), rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.write_text(written(where.read_text(encoding="utf-8")), encoding="utf-8")
