import ipaddress

import pytest

from walkforward_cluster import network
from walkforward_cluster.addresses import Addresses, block, choose, interface
from walkforward_cluster.errors import ClusterError

EVERYTHING = ipaddress.IPv4Network("198.18.0.0/15")


def test_the_parts_of_a_block_do_not_overlap_and_hold_every_address() -> None:
    addresses = Addresses(ipaddress.IPv4Network("198.18.4.0/22"))
    parts = [addresses.pods, addresses.services, addresses.link]
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)
    assert all(part.subnet_of(addresses.block) for part in parts)
    assert (addresses.host, addresses.node, addresses.api_service, addresses.dns) == (
        "198.18.7.1",
        "198.18.7.2",
        "198.18.6.1",
        "198.18.6.10",
    )


def test_every_block_is_within_the_range_reserved_for_benchmarks() -> None:
    assert len({block(index).block for index in range(128)}) == 128
    assert all(block(index).block.subnet_of(EVERYTHING) for index in range(300))


def test_the_choice_is_stable_and_moves_only_where_another_is_in_the_way() -> None:
    first = choose("wf-abc123", [])
    assert choose("wf-abc123", []) == first
    assert choose("wf-abc123", [ipaddress.IPv4Network("10.0.0.0/8")]) == first
    moved = choose("wf-abc123", [first.link])
    assert not moved.block.overlaps(first.block)


def test_a_full_range_is_refused_with_the_next_step() -> None:
    with pytest.raises(ClusterError, match="Next: take another cluster down"):
        choose("wf-abc123", [EVERYTHING])


@pytest.mark.parametrize("name", ["wf-abc123", "a-name-that-is-much-too-long-for-an-interface"])
def test_interface_names_fit(name: str) -> None:
    near, far = interface(name, "h"), interface(name, "n")
    assert near != far
    assert max(len(near), len(far)) <= 15


def test_the_fence_lets_only_the_host_through() -> None:
    rules = network.fence("wf-x-n", Addresses(ipaddress.IPv4Network("198.18.4.0/22")))
    assert rules.count("ip daddr != 198.18.7.1 reject") == 2
    assert "hook forward" in rules
    assert "hook output" in rules
