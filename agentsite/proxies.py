"""Takes the client's address and scheme from the headers of trusted proxies.

Each proxy of a chain appends the address that it saw to `X-Forwarded-For`. So the header is read
from the end, up to the first address that is not a trusted proxy's: the client wrote the entries
before it. The scheme is the first of `X-Forwarded-Proto`, which a client can forge: that deceives
only the client. `Forwarded` (RFC 7239) and `X-Forwarded-Host` are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def behind_proxies(application: Any, trusted: Iterable[str]) -> Any:
    """Wrap an ASGI application, so that it gets the client's address and scheme from proxies.

    Args:
        application: HTTP and WebSockets are treated alike.
        trusted: addresses and networks of trusted proxies.
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
    schemes = _entries(scope, b"x-forwarded-proto")
    if scheme := _SCHEMES.get(schemes[0].lower()) if schemes else None:
        is_socket = scope["type"] == "websocket"
        scope["scheme"] = scheme.replace("http", "ws") if is_socket else scheme
    return scope


def _entries(scope: Any, name: bytes) -> list[str]:
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [entry for line in lines for part in line.split(",") if (entry := part.strip(' \t"'))]


def _plain(entry: str) -> str:
    """Return an address without port, brackets, zone and IPv6 mapping; other texts unchanged."""
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
