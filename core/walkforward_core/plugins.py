"""Tables that other packages may add to, by entry points.

A package of one's own names, in its ``pyproject.toml``, objects by the table that they belong to::

    [project.entry-points."walkforward.features"]
    spread_z = "desk.features:SPREAD_Z"

Groups: ``walkforward.features`` (a :class:`~walkforward_core.features.Feature`), ``walkforward.labels``, ``walkforward.models`` and
``walkforward.recipes``. Names of this package win never and lose never: a name that is taken is refused.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from walkforward_core.errors import WalkforwardError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

__all__ = ["PluginError", "package_of", "with_plugins"]

T = TypeVar("T")


class PluginError(WalkforwardError):
    """What an entry point names cannot be loaded, takes a name that is taken, or is not what its table needs."""


def with_plugins(group: str, built_in: Mapping[str, T]) -> Mapping[str, T]:
    """Return ``built_in`` and what installed packages add to ``group``.

    Raises
    ------
    PluginError
        The entry point does not load, or its name is taken; the message names the package.
    """
    found = _loaded(group)
    taken = sorted(set(found) & set(built_in))
    if taken:
        raise PluginError(f"entry point {group}: {', '.join(taken)} is a name of walkforward itself; choose another name in the package")
    return {**built_in, **found}


def package_of(group: str, name: str) -> str | None:
    """Return the package whose entry point of ``group`` is ``name``, or nothing: it is of walkforward itself, or of no one."""
    return next((_package(point) for point in entry_points(group=group) if point.name == name), None)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an installed package"


@cache
def _loaded(group: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        package = _package(point)
        if point.name in found:
            raise PluginError(f"entry point {group}: {point.name} is named by two packages, one is {package}; rename one of them")
        try:
            found[point.name] = point.load()
        except Exception as error:
            raise PluginError(f"entry point {group}: {point.name} = {point.value} of {package} does not load: {error!r}") from error
    return found
