"""What a round trip costs in a run: fee and slippage of both sides, measured where the spec asks for it, times the caution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.errors import DocumentError
from walkforward_trainer.calibrator.document import Calibration, copy_uri, stamp_ms
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.api.retrain import CostsSpec, SlippageByTrades
    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.recipes.recipe import Recipe

__all__ = ["RunCosts", "assumed_costs", "caution", "newest_calibration", "resolve_costs"]

CALIBRATION_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Costs of one side in basis points of the traded value, and where they come from.

    ``calibration`` is the address of the measurement that ``slippage_bps`` is of, empty where it is assumed; ``closed_trades`` the number
    that ``multiplier`` follows from, None where it is fixed; ``note`` says what was asked for and could not be had.
    """

    fee_bps: float
    slippage_bps: float
    multiplier: float
    calibration: str = ""
    closed_trades: int | None = None
    note: str = ""

    @property
    def round_trip(self) -> float:
        """Cost of both sides as a share of the traded value."""
        return 2.0 * (self.fee_bps + self.slippage_bps * self.multiplier) / 10_000.0


def caution(rule: SlippageByTrades, closed_trades: int) -> float:
    """Return the multiplier after that many closed trades: initial - (initial - min) · min(closed / trades, 1).

    >>> from walkforward_core.api.retrain import SlippageByTrades
    >>> [caution(SlippageByTrades(), trades) for trades in (0, 250, 500, 9_999)]
    [2.0, 1.75, 1.5, 1.5]
    """
    return rule.initial - (rule.initial - rule.min) * min(closed_trades / rule.trades, 1.0)


def assumed_costs(costs: CostsSpec, recipe: Recipe) -> RunCosts:
    """Return the costs that spec and recipe assume, before anything is measured or counted: without experience caution is greatest."""
    asked = costs.slippage
    rule = asked.by_trades or recipe.by_trades
    return RunCosts(
        fee_bps=costs.fee_bps,
        slippage_bps=recipe.slippage_bps if asked.bps is None else asked.bps,
        multiplier=asked.multiplier if rule is None else caution(rule, 0),
    )


def resolve_costs(
    costs: CostsSpec, recipe: Recipe, store: ObjectStore, *, artifacts: str, as_of_ms: int, closed_trades: Callable[[], int | None]
) -> RunCosts:
    """Return the costs of a run as of ``as_of_ms``; ``closed_trades`` counts those in the log, None without one, and is called if needed.

    Raises
    ------
    BadData
        The calibration that counts is not readable.
    StoreError
        The store did not do as asked.
    """
    assumed = assumed_costs(costs, recipe)
    rule = costs.slippage.by_trades or recipe.by_trades
    count = None if rule is None else closed_trades()
    measured = newest_calibration(store, artifacts, as_of_ms) if costs.slippage.calibrated else None
    notes = []
    if rule is not None and count is None:
        notes.append(
            f"There is no log of trades (data.trades), so slippage is multiplied by {assumed.multiplier:g}, as without experience."
        )
    if costs.slippage.calibrated and measured is None:
        notes.append(
            f"There is no execution calibration up to asOf below {copy_uri(artifacts)}, so slippage is the {assumed.slippage_bps:g} bps "
            "a side that are assumed; add a schedule of mode Calibrate."
        )
    return RunCosts(
        fee_bps=assumed.fee_bps,
        # a price that is better than expected is luck, and not to be counted on
        slippage_bps=assumed.slippage_bps if measured is None else max(0.0, 100.0 * measured[1].execution.ema_slippage_per_side_pct),
        multiplier=assumed.multiplier if rule is None or count is None else caution(rule, count),
        calibration="" if measured is None else measured[0],
        closed_trades=count,
        note=" ".join(notes),
    )


def newest_calibration(store: ObjectStore, artifacts: str, as_of_ms: int) -> tuple[str, Calibration] | None:
    """Return address and content of the newest calibration at or before ``as_of_ms``; a later one is never opened.

    The pointer is of no use here: it names the newest of all, which a replay of the past must not know.
    """
    folder = copy_uri(artifacts)
    known = {uri: stamp_ms(uri.removeprefix(folder).removesuffix(".json")) for uri in store.list(folder)}
    usable = [(at, uri) for uri, at in known.items() if at is not None and at <= as_of_ms]
    if not usable:
        return None
    at, uri = max(usable)
    try:
        found = Calibration.parse(store.get(uri, limit=CALIBRATION_LIMIT), source=uri)
    except DocumentError as error:
        raise BadData(Reason.CALIBRATION_BROKEN, f"costs.slippage.calibrated: {error}; remove it, or calibrate once more") from error
    if instant(found.generated_at, "generated_at") != at:
        raise BadData(
            Reason.CALIBRATION_BROKEN,
            f"costs.slippage.calibrated: {uri} was generated at {found.generated_at}, which its name does not say; remove it",
        )
    return uri, found
