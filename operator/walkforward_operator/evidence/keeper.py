"""The evidence of one walk: loaded once, added to by every poll, banked every 15 s and whenever a source has vanished."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.errors import DocumentError
from walkforward_core.evidence import Bank, EvidenceFull, source_of
from walkforward_core.names import EVIDENCE_KEY, FIELD_MANAGER, MANAGED_BY, TARGET_LABEL, evidence_name
from walkforward_operator.cluster.kinds import CONFIG_MAP, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from walkforward_core.stats import StatsDocument
    from walkforward_operator.cluster.protocol import Cluster, Object

__all__ = ["BANK_S", "Keeper", "WalkKey"]

_log: Final = logging.getLogger(__name__)
BANK_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class WalkKey:
    """Which walk the evidence belongs to: the rollout, its plan of measurement, the generation at which it began."""

    namespace: str
    deployment: str
    rollout: str
    rollout_uid: str
    plan: str
    evidence_from: int


class Keeper:
    """Keeps the bank of one walk; ``bank`` is what gates read, ``full`` says that it no longer fits."""

    def __init__(self, cluster: Cluster, walk: WalkKey, bank: Bank) -> None:
        self.walk = walk
        self.bank = bank
        self.full = False
        self._cluster = cluster
        self._banked = bank

    @classmethod
    async def load(cls, cluster: Cluster, walk: WalkKey) -> Keeper:
        """Return the keeper with what was banked of this walk before; what cannot be read counts for nothing, and is said."""
        labels = {MANAGED_BY[0]: MANAGED_BY[1], TARGET_LABEL: walk.deployment}
        found = await cluster.list(CONFIG_MAP, walk.namespace, labels=labels)
        shards = {number: item for item in found if (number := _shard(item, walk.deployment)) is not None}
        stored: dict[int, bytes] = {}
        for number, item in shards.items():
            try:
                stored[number] = base64.b64decode((item.get("binaryData") or {}).get(EVIDENCE_KEY, ""), validate=True)
                one = {0: stored[number]}
                Bank.load(one, rollout_uid=walk.rollout_uid, plan=walk.plan, evidence_from=walk.evidence_from)
            except (DocumentError, binascii.Error) as error:
                _log.error("%s/%s: %s", walk.namespace, item["metadata"]["name"], error)
                stored.pop(number, None)
        bank = Bank.load(stored, rollout_uid=walk.rollout_uid, plan=walk.plan, evidence_from=walk.evidence_from)
        return cls(cluster, walk, bank)

    def absorb(self, stats: StatsDocument, *, phase_from: int) -> bool:
        """Add one pod's answer; return whether it had anything new."""
        before = self.bank
        self.bank = before.absorb(stats, phase_from=phase_from)
        return self.bank is not before

    def close_vanished(self, pods: Collection[str], boots: Mapping[str, str], *, phase_from: int) -> bool:
        """Fold the sources of pods (by UID) that are gone, and of processes that another boot has followed in the same pod.

        ``boots`` has the newest boot heard of each pod: one that has not spoken yet keeps all of its sources open.
        """
        gone = [source for source in self.bank.open_sources if not _alive(source, pods, boots)]
        self.bank = self.bank.close(gone, phase_from=phase_from)
        return bool(gone)

    @property
    def unbanked(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self.bank.changed(self._banked))

    async def save(self) -> None:
        """Write the shards that have changed; raises a ``ClusterError`` with the rest still to be written."""
        bank = self.bank
        for number in bank.changed(self._banked):
            try:
                data = bank.shards[number].to_gzip()
            except EvidenceFull as error:
                if not self.full:
                    _log.error("%s/%s: %s", self.walk.namespace, self.walk.rollout, error)
                self.full = True
                return
            await self._cluster.apply(CONFIG_MAP, self._body(number, data), manager=FIELD_MANAGER)
        self._banked, self.full = bank, False

    def _body(self, number: int, data: bytes) -> dict[str, object]:
        owner = {
            "apiVersion": ROLLOUT.api_version,
            "kind": ROLLOUT.name,
            "name": self.walk.rollout,
            "uid": self.walk.rollout_uid,
        }
        return {
            "metadata": {
                "namespace": self.walk.namespace,
                "name": evidence_name(self.walk.deployment, number),
                "labels": {MANAGED_BY[0]: MANAGED_BY[1], TARGET_LABEL: self.walk.deployment},
                "ownerReferences": [owner],
            },
            "binaryData": {EVIDENCE_KEY: base64.b64encode(data).decode()},
        }


def _alive(source: str, pods: Collection[str], boots: Mapping[str, str]) -> bool:
    uid = source.partition("/")[0]
    return uid in pods and (uid not in boots or source == source_of(uid, boots[uid]))


def _shard(item: Object, deployment: str) -> int | None:
    """Return the number of a ConfigMap of evidence; None for another ConfigMap of the target."""
    name = item["metadata"]["name"]
    number = name.removeprefix(evidence_name(deployment, 0)[:-1])
    return int(number) if number.isdecimal() and name == evidence_name(deployment, int(number)) else None
