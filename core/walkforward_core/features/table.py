"""The table of features: this package's, and those that other packages add by the entry point ``walkforward.features``.

All are causal (row t reads no later row), have finite memory (row t reads ``lookback`` rows before t and no others, so that a
client with a short history computes the trainer's very bits) and, those of bars, are finite for finite, positive prices: where a
market does not move they take their neutral value. Adding a feature is one entry, here in a module of its kind or elsewhere in a
package of one's own; ``docs/reference/features.md`` lists them.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.features import channels, momentum, moves, ohlcv, parabolic, samples, trend, volumes
from walkforward_core.features.feature import Feature, FeatureError
from walkforward_core.plugins import package_of, with_plugins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FEATURES", "GROUP", "features", "find", "lookback", "titled", "unknown"]

GROUP: Final = "walkforward.features"
"""Entry points of this group are features of other packages."""

FEATURES: Final[Mapping[str, Feature]] = {
    **ohlcv.TABLE,
    **moves.TABLE,
    **momentum.TABLE,
    **trend.TABLE,
    **parabolic.TABLE,
    **channels.TABLE,
    **volumes.TABLE,
    **samples.TABLE,
}
"""Every feature of this package by name."""


def features() -> Mapping[str, Feature]:
    """Return every feature by name, those of installed packages included.

    Raises
    ------
    PluginError
        An entry point does not load, or takes a name that is taken.
    FeatureError
        An entry point is no :class:`Feature`.
    """
    built_in: Mapping[str, Any] = FEATURES
    table = with_plugins(GROUP, built_in)
    for name, feature in table.items():
        if not isinstance(feature, Feature) or feature.lookback < 0:
            raise FeatureError(f"{titled(name)} is {feature!r}; an entry point of {GROUP} names a Feature with a lookback of 0 or more")
    return table


def unknown(names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that are not in the table."""
    known = features()
    return [name for name in names if name not in known]


def lookback(names: Sequence[str]) -> int:
    """Return the warm-up of ``names``: rows needed before the first row that has all of them."""
    return max((feature.lookback for feature in find(names)), default=0)


def find(names: Sequence[str]) -> list[Feature]:
    """Return the features ``names``.

    Raises
    ------
    ValueError
        A name is not in the table.
    """
    known = features()
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 5)
            raise ValueError(
                f"feature {name!r} is not known; near to it: {', '.join(near) or 'none'}; docs/reference/features.md lists all"
            )
    return [known[name] for name in names]


def titled(name: str) -> str:
    """Return the feature's name as messages have it, with the package that it comes from if it is another."""
    package = package_of(GROUP, name)
    return f"feature {name!r} of the package {package}" if package else f"feature {name!r}"
