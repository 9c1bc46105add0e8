"""The client's address and scheme, as trusted proxies say.

Each proxy of a row adds what it saw to `X-Forwarded-For`, behind what it was sent. So that is read
from the end, up to the word of the last trusted proxy: what stands before it is what a client says
of itself. The scheme is the first of `X-Forwarded-Proto`, the client's own: who makes that up
deceives only himself. `Forwarded` (RFC 7239) and `X-Forwarded-Host` are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def behind_proxies(application: Any, trusted: Iterable[str]) -> Any:
    """An ASGI application that gets the client's address and scheme from trusted proxies.

    Args:
        application: HTTP and WebSockets are treated alike.
        trusted: addresses and networks of proxies.
    """
    networks = [ip_network(network) for network in trusted]

    def is_trusted(text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in networks)

    async def run(scope: Any, receive: Any, send: Any) -> None:
        peer, *port = scope.get("client") or ("",)
        peer = _plain(str(peer))
        if is_trusted(peer):
            scope = _as_forwarded(scope, is_trusted)
        elif port:
            scope = {**scope, "client": (peer, *port)}
        await application(scope, receive, send)

    return run


def _as_forwarded(scope: Any, is_trusted: Any) -> Any:
    client, port = scope["client"]
    for entry in reversed(_entries(scope, b"x-forwarded-for")):
        client, port = _plain(entry), 0
        if not is_trusted(client):
            break
    scope = {**scope, "client": (client, port)}
    said = _entries(scope, b"x-forwarded-proto")
    if scheme := _SCHEMES.get(said[0].lower()) if said else None:
        is_socket = scope["type"] == "websocket"
        scope["scheme"] = scheme.replace("http", "ws") if is_socket else scheme
    return scope


def _entries(scope: Any, name: bytes) -> list[str]:
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [entry for line in lines for part in line.split(",") if (entry := part.strip(' \t"'))]


def _plain(entry: str) -> str:
    """An address without port, brackets and zone, and IPv4 as such; other texts as they are."""
    text = entry
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = _address(text.partition("%")[0])
    if address is None:
        return entry
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
