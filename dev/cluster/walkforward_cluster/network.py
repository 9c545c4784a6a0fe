"""The node's own network namespace, its link to the host, and the host's way to pods and Services."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from walkforward_cluster.addresses import Addresses, interface
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.procs import wait_until
from walkforward_cluster.shell import run

_TABLE = "walkforward"
_GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class Network:
    """The network of one cluster; see `remove` for its end."""

    name: str
    addresses: Addresses

    @property
    def path(self) -> Path:
        """The namespace's handle."""
        return namespace(self.name)

    @property
    def prefix(self) -> list[str]:
        """Words that run a command inside. `ip netns exec` would remount /sys, and the kubelet then finds no cgroups."""
        return ["nsenter", f"--net={self.path}", "--"]

    def add(self) -> None:
        """Make the namespace, the veth pair, the routes on both sides and the rule that nothing leaves the machine."""
        near, far, addresses = interface(self.name, "h"), interface(self.name, "n"), self.addresses
        run(["ip", "netns", "add", self.name])
        run(["ip", "link", "add", near, "type", "veth", "peer", "name", far])
        run(["ip", "link", "set", far, "netns", self.name])
        run(["ip", "addr", "add", f"{addresses.host}/30", "dev", near])
        run(["ip", "link", "set", near, "up"])
        self.run(["ip", "link", "set", "lo", "up"])
        self.run(["ip", "addr", "add", f"{addresses.node}/30", "dev", far])
        self.run(["ip", "link", "set", far, "up"])
        # The kubelet takes the node's address from the default route; the rules below keep everything else from using it.
        self.run(["ip", "route", "add", "default", "via", addresses.host])
        for reachable in (addresses.pods, addresses.services):
            run(["ip", "route", "add", str(reachable), "via", addresses.node])
        self.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        self.run(["nft", "-f", "-"], stdin=fence(far, addresses))

    def run(self, command: list[str], *, stdin: str | None = None) -> str:
        """Run a command inside, to its end."""
        return run([*self.prefix, *command], stdin=stdin).stdout


def fence(link: str, addresses: Addresses) -> str:
    """Rules that refuse, at once, what would leave for anywhere but the host: a Service without a rule must not reach the world."""
    refuse = f'oifname "{link}" ip daddr != {addresses.host} reject with icmp type net-unreachable'
    return (
        f"table ip {_TABLE} {{\n"
        f"  chain output {{ type filter hook output priority 10; {refuse}; }}\n"
        f"  chain forward {{ type filter hook forward priority 10; {refuse}; }}\n"
        "}\n"
    )


def end_processes(name: str) -> None:
    """End whatever still runs in the namespace: where the records are lost, being in there is what makes a process ours."""
    if not namespace(name).exists():
        return

    def left() -> list[int]:
        return [int(pid) for pid in run(["ip", "netns", "pids", name]).stdout.split()]

    for pid in left():
        with suppress(ProcessLookupError):  # it went with one that was ended before it
            os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not left(), _GONE_S):
        raise ClusterError(
            f"processes {left()} in namespace {name} do not end", reason="not even by SIGKILL", next_step="look at them in /proc"
        )


def remove(name: str) -> None:
    """Take a cluster's link (with it the host's routes) and namespace away; what is gone already is no error."""
    if link_exists(interface(name, "h")):
        run(["ip", "link", "del", interface(name, "h")])
    if namespace(name).exists():
        run(["ip", "netns", "del", name])


def namespace(name: str) -> Path:
    """The handle of a network namespace, there or not."""
    return Path("/run/netns") / name


def link_exists(name: str) -> bool:
    """Whether the host has an interface of that name."""
    return Path("/sys/class/net", name).exists()


def routed() -> list[ipaddress.IPv4Network]:
    """Every IPv4 network that the host routes, the default route excepted."""
    found = run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout
    routes = [route.get("dst", "default") for route in json.loads(found or "[]")]
    return [ipaddress.IPv4Network(route) for route in routes if route != "default"]
