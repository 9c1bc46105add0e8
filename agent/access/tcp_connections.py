"""Bounds the TCP connections of a process by address, and decides which one is dropped."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from agent.conf import Conf

from .limits import address_of

#: TCP connections of an address for each WebSocket that it may have: browsers open several.
_FOR_EACH_SOCKET = 2
_DESCRIPTORS_OF_OUR_OWN = 64


def most_descriptors(max_concurrent_turns: int) -> int:
    """Return the lowest file descriptor number at which a new connection causes a drop.

    The kernel always assigns the lowest free number, so a connection with this number means that
    this many descriptors are open. The descriptors above are for the database, Redis and the
    provider: a server that spends its last descriptor on a client can serve no client.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(limit - _DESCRIPTORS_OF_OUR_OWN - max_concurrent_turns, limit // 2)


class AddressConnections:
    """Counts connections, and decides which one is dropped.

    An address may have `most` connections. When descriptors become scarce, the newest connection
    of the address with the most connections is dropped, so that other clients can still connect. A
    trusted proxy's address stands for all of its clients, so it has no bound of its own.

    Args:
        most: how many connections an address may have.
        scarce_from: a descriptor's number; see `most_descriptors`.
        proxies: addresses and networks of trusted proxies.
    """

    @classmethod
    def of(cls, conf: Conf) -> AddressConnections:
        """Build the bounds of a process with these settings."""
        return cls(
            _FOR_EACH_SOCKET * conf.max_connections_per_address,
            most_descriptors(conf.max_concurrent_turns),
            conf.trusted_proxies,
        )

    def __init__(self, most: int, scarce_from: int, proxies: Iterable[str]) -> None:
        self._most, self._scarce_from = most, scarce_from
        self._proxies = [ip_network(proxy) for proxy in proxies]
        self._here: dict[str, dict[object, Callable[[], object]]] = {}

    def arrive(
        self, host: str, descriptor: int, connection: object, drop: Callable[[], object]
    ) -> None:
        """Count a new connection, and drop one if there are too many.

        Args:
            host: the peer's address, as TCP knows it.
            descriptor: the number of its file descriptor.
            connection: its identity; hashable.
            drop: ends the connection at once.
        """
        address = address_of({"client": (host, 0)})
        siblings = self._here.setdefault(address, {})
        siblings[connection] = drop
        if len(siblings) > self._most and not self.is_proxy(host):
            self._drop_newest(address)
        elif descriptor >= self._scarce_from:
            largest = max(self._here, key=lambda other: len(self._here[other]))
            has_more = len(self._here[largest]) > len(siblings)
            self._drop_newest(largest if has_more else address)

    def leave(self, host: str, connection: object) -> None:
        """Forget a connection that ended; may be repeated."""
        self._forget(address_of({"client": (host, 0)}), connection)

    def is_proxy(self, host: str) -> bool:
        """Whether this is a trusted proxy's address, which stands for all of its clients."""
        if not host:
            return True  # a Unix socket: only a proxy connects to it
        try:
            address = ip_address(host.partition("/")[0])
        except ValueError:
            return False  # a name that a trusted proxy forwards for a client
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._proxies)

    def _forget(self, address: str, connection: object) -> None:
        siblings = self._here.get(address, {})
        siblings.pop(connection, None)
        if not siblings:
            self._here.pop(address, None)

    def _drop_newest(self, address: str) -> None:
        connection, drop = next(reversed(self._here[address].items()))
        self._forget(address, connection)
        drop()
