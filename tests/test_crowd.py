"""Which TCP connection goes when there are too many."""

import pytest

from agent.access.tcp_connections import Crowd


class Connections:
    """Connections to a process that has descriptors up to a number."""

    def __init__(self, most=1000, scarce_from=1000, proxies=()):
        self.crowd = Crowd(most, scarce_from, proxies)
        self.dropped, self.open, self.free = [], {}, 0

    def arrive(self, host, name):
        self.open[name] = host
        self.crowd.arrive(host, len(self.open), name, lambda: self.drop(name))

    def drop(self, name):
        self.dropped.append(name)
        del self.open[name]


def test_an_address_has_a_bound_and_its_newest_goes():
    here = Connections(most=3)
    for number in range(5):
        here.arrive("203.0.113.1", number)
    here.arrive("203.0.113.2", "other")
    assert here.dropped == [3, 4]
    here.crowd.leave("203.0.113.1", 0)
    here.arrive("203.0.113.1", "again")
    assert here.dropped == [3, 4]


def test_a_subscribers_ipv6_addresses_are_one_address():
    here = Connections(most=2)
    for number in range(3):
        here.arrive(f"2001:db8:1:2::{number}", number)
    assert here.dropped == [2]


@pytest.mark.parametrize("host", ["10.0.0.7", "::ffff:10.0.0.7", ""])
def test_a_proxys_address_is_not_one_clients(host):
    here = Connections(most=2, proxies=["10.0.0.0/8"])
    for number in range(9):
        here.arrive(host, number)
    assert not here.dropped


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.0.0.7", True),
        ("::ffff:10.0.0.7", True),
        ("2001:db8:1:2::/64", True),
        ("", True),
        ("203.0.113.1", False),
        ("2001:db8:1:3::/64", False),
        ("unknown", False),
    ],
)
def test_only_a_trusted_proxy_stands_for_others(host, trusted):
    assert Crowd(1, 1, ["10.0.0.0/8", "2001:db8:1:2::/64"]).is_proxy(host) is trusted


def test_when_descriptors_are_scarce_the_newest_of_the_largest_crowd_goes():
    here = Connections(scarce_from=6)
    for number in range(5):
        here.arrive("203.0.113.1", f"crowd {number}")
    here.arrive("203.0.113.2", "other")
    assert here.dropped == ["crowd 4"] and "other" in here.open
    here.arrive("203.0.113.1", "crowd again")
    assert here.dropped == ["crowd 4", "crowd again"]


def test_among_equals_the_newcomer_goes():
    here = Connections(scarce_from=3)
    for number in range(4):
        here.arrive(f"203.0.113.{number}", number)
    assert here.dropped == [2, 3]
