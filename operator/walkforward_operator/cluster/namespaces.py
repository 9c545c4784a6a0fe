"""Whether a namespace is going: its RoleBindings go first, and with them the right to read and write in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_operator.cluster.errors import Forbidden, NotFound
from walkforward_operator.cluster.kinds import NAMESPACE

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Reader

__all__ = ["goes"]


async def goes(cluster: Reader, namespace: str) -> bool:
    """Return whether a namespace is being deleted, or is gone."""
    try:
        found = await cluster.get(NAMESPACE, "", namespace)
    except NotFound:
        return True
    except Forbidden:
        return False  # without the right to look nothing is known
    return "deletionTimestamp" in found["metadata"]
