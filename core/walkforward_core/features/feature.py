"""What an entry of the table of features is, and what its formula reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from walkforward_core.features.bars import Bars
from walkforward_core.plugins import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    Series = npt.NDArray[np.float64]

__all__ = ["Feature", "FeatureError", "Of", "Sheet"]

P = ParamSpec("P")


class FeatureError(PluginError):
    """The formula of a feature breaks what the table promises; ``str`` of it names feature, package and cause."""


class Of(StrEnum):
    """What a feature is a column of."""

    BARS = "bars"
    SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the model's matrix.

    Parameters
    ----------
    lookback
        Rows needed before a row: its value depends on them, on the row itself and on nothing else.
    formula
        All rows → one value a row, shape (n,); the first ``lookback`` are not looked at. Of bars it is given a :class:`Sheet`, of
        samples :class:`~walkforward_core.features.samples.Samples`. It must not write into what it is given.
    meaning
        One line for people, with the unit.
    of
        Whether rows are bars or samples.
    """

    lookback: int
    formula: Callable[[Any], Series]
    meaning: str
    of: Of = Of.BARS


@dataclass(frozen=True, slots=True, eq=False)
class Sheet(Bars):
    """Bars beside everything that the formulae of one call have derived from them, each derived once.

    ``sheet.of(mean_range, 14)`` is ``mean_range(sheet, 14)``, computed when first asked for and kept as long as the sheet.
    """

    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def over(cls, bars: Bars) -> Sheet:
        """Return an empty sheet over ``bars``, its columns read-only."""
        return cls(time=bars.time, open=bars.open, high=bars.high, low=bars.low, close=bars.close, volume=bars.volume).readable()

    def of(self, formula: Callable[Concatenate[Sheet, P], Series], *args: P.args, **kwargs: P.kwargs) -> Series:
        """Return ``formula(self, …)``, read-only."""
        key = (formula, args, tuple(kwargs.items()))
        if key not in self._kept:
            found = formula(self, *args, **kwargs)
            found.flags.writeable = False
            self._kept[key] = found
        kept: Series = self._kept[key]
        return kept
