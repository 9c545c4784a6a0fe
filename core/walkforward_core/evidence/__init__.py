"""Evidence: what all pods counted, merged without loss or double counting, and banked so that it survives them (contract C4).

``rows`` and ``outcomes`` add; ``totals`` and ``bank`` keep; ``view`` is what the gates read.
"""

from walkforward_core.evidence.bank import Bank
from walkforward_core.evidence.totals import EvidenceFull, Totals, source_of
from walkforward_core.evidence.view import Evidence, Scope

__all__ = ["Bank", "Evidence", "EvidenceFull", "Scope", "Totals", "source_of"]
