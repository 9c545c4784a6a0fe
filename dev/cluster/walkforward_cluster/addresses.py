"""Addresses of one cluster: a block of its own, first chosen by the name, then moved where another one is in the way."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Set aside for benchmarks between networks (RFC 2544): neither offices nor clouds use it, so no route of the machine is hidden.
_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
_BLOCK_PREFIX = 22
_BLOCKS = 2 ** (_BLOCK_PREFIX - _RANGE.prefixlen)
_INTERFACE_NAME_MAX = 15


@dataclass(frozen=True, slots=True)
class Addresses:
    """One /22: pods in its first half, Services in its third quarter, the link to the host in the last."""

    block: ipaddress.IPv4Network

    @property
    def pods(self) -> ipaddress.IPv4Network:
        """Pod addresses: 510, for at most 200 pods and those that just ended."""
        return next(self.block.subnets(new_prefix=23))

    @property
    def services(self) -> ipaddress.IPv4Network:
        """Service addresses."""
        return list(self.block.subnets(new_prefix=24))[2]

    @property
    def link(self) -> ipaddress.IPv4Network:
        """The /30 between the host and the node."""
        return next(list(self.block.subnets(new_prefix=24))[3].subnets(new_prefix=30))

    @property
    def host(self) -> str:
        """The host's end of the link."""
        return str(self.link[1])

    @property
    def node(self) -> str:
        """The node's end of the link, where the API server listens too."""
        return str(self.link[2])

    @property
    def api_service(self) -> str:
        """The Service address of the API server: the first one, by Kubernetes' own rule."""
        return str(self.services[1])

    @property
    def dns(self) -> str:
        """The Service address of CoreDNS."""
        return str(self.services[10])


def block(index: int) -> Addresses:
    """The addresses of block `index`."""
    start = int(_RANGE.network_address) + (index % _BLOCKS) * 2 ** (32 - _BLOCK_PREFIX)
    return Addresses(ipaddress.IPv4Network((start, _BLOCK_PREFIX)))


def choose(name: str, taken: Iterable[ipaddress.IPv4Network]) -> Addresses:
    """The first free block, looked for from where the cluster's name points."""
    occupied = list(taken)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for offset in range(_BLOCKS):
        candidate = block(first + offset)
        if not any(candidate.block.overlaps(other) for other in occupied):
            return candidate
    raise ClusterError(
        f"no addresses for cluster {name}", reason=f"all of {_RANGE} is routed already", next_step="take another cluster down"
    )


def interface(name: str, end: str) -> str:
    """The name of one end of the veth pair; Linux allows 15 characters."""
    full = f"{name}-{end}"
    if len(full) <= _INTERFACE_NAME_MAX:
        return full
    return f"wf{hashlib.sha256(name.encode()).hexdigest()[:8]}-{end}"
