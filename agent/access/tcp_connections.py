"""The TCP connections of a process by their address: how many there may be, and which one goes."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

from agent.conf import Conf

from .limits import address_of

#: TCP connections of an address for each WebSocket that it may have: browsers have several.
_FOR_EACH_SOCKET = 2
_DESCRIPTORS_OF_OUR_OWN = 64


def most_descriptors(max_concurrent_turns: int) -> int:
    """The number of a file descriptor from which on connections are dropped.

    The lowest free number is always taken, so a connection with this one means that so many are
    open. What is above is for the database, Redis and the provider: a server that spends its last
    descriptor on a client can serve nobody.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(limit - _DESCRIPTORS_OF_OUR_OWN - max_concurrent_turns, limit // 2)


class AddressConnections:
    """Counts connections, and decides which one is dropped.

    One address may have so many connections. When descriptors become scarce, the newest connection
    of the address that has most of them is dropped, so that others still get in. A trusted proxy's
    address stands for all of its clients, so it has no bound of its own.

    Args:
        most: of an address.
        scarce_from: the number of a descriptor; see `most_descriptors`.
        proxies: addresses and networks of trusted proxies.
    """

    @classmethod
    def of(cls, conf: Conf) -> AddressConnections:
        """Those of a process with these settings."""
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
        """A connection came.

        Args:
            host: its client's address, as TCP has it.
            descriptor: its number.
            connection: tells it from the others; hashable.
            drop: ends it at once.
        """
        address = address_of({"client": (host, 0)})
        mine = self._here.setdefault(address, {})
        mine[connection] = drop
        if len(mine) > self._most and not self.is_proxy(host):
            self._drop_newest(address)
        elif descriptor >= self._scarce_from:
            largest = max(self._here, key=lambda one: len(self._here[one]))
            more = len(self._here[largest]) > len(mine)
            self._drop_newest(largest if more else address)

    def leave(self, host: str, connection: object) -> None:
        """A connection ended; harmless when repeated."""
        self._forget(address_of({"client": (host, 0)}), connection)

    def is_proxy(self, host: str) -> bool:
        """Whether it is a trusted proxy's address, which stands for all of its clients."""
        if not host:
            return True  # a Unix socket, on which only a proxy connects
        try:
            address = ip_address(host.partition("/")[0])
        except ValueError:
            return False  # what a trusted proxy says of a client
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._proxies)

    def _forget(self, address: str, connection: object) -> None:
        mine = self._here.get(address, {})
        mine.pop(connection, None)
        if not mine:
            self._here.pop(address, None)

    def _drop_newest(self, address: str) -> None:
        connection, drop = next(reversed(self._here[address].items()))
        self._forget(address, connection)
        drop()
