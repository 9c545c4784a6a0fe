"""What every part of Walkforward shares: documents, names, the object store, statistics and features.

Nothing here imports the operator, the trainer or the server; the three never import each other.
"""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
"""Version of all parts: images hold the packages without the distribution that would tell it."""
