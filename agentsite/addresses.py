"""Parses variables with addresses: origins, hosts, networks, Redis, the base path of the site.

Each function takes the text of a variable, and raises `Unusable` with the reason for a value that
can never work. So the start reports it, and not a later error about something else.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_network
from urllib.parse import urlsplit

from redis.connection import Connection, parse_url

from .environment import Unusable

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
#: The first parts of our own paths. A base path with one of them would be ambiguous.
_OWN_PATHS = {"admin", "api", "functions", "healthz", "login", "logout", "metrics"}
_OWN_PATHS |= {"readyz", "static", "ws"}


def origins(raw: str) -> tuple[str, ...]:
    """Normalise origins as browsers do: in lower case, in ASCII, without a default port."""
    return tuple(_origin(part.strip()) for part in raw.split(",") if part.strip())


def _origin(raw: str) -> str:
    if "*" in raw:
        raise Unusable("* is not supported: list each origin in full")
    try:
        parts = urlsplit(raw.lower().removesuffix("/"))
        port, host = parts.port, parts.hostname
    except ValueError:
        raise Unusable("one has an invalid host or port") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise Unusable("one does not start with http:// or https://")
    if "@" in parts.netloc:
        raise Unusable("one has a user or a password, which no browser sends")
    if parts.path or parts.query or parts.fragment or "?" in raw or "#" in raw:
        raise Unusable("one has something after its host and port")
    if not host or port == 0 or parts.netloc.endswith(":"):
        raise Unusable("one has an invalid host or port")
    written = f"[{host}]" if ":" in host else _ascii(host)
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{written}{shown}"


def _ascii(host: str) -> str:
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", name):
        raise Unusable("one has an invalid host name")
    return name


def hosts(raw: str) -> tuple[str, ...]:
    """Normalise names of this site for Django: without scheme and port, IPv6 in brackets."""
    return tuple(_host(part.strip().lower()) for part in raw.split(",") if part.strip())


def _host(raw: str) -> str:
    if raw == "*":
        return raw  # the deployment check refuses it
    if "/" in raw:
        raise Unusable("a name has neither scheme nor path")
    try:
        return f"[{IPv6Address(raw.strip('[]'))}]"
    except ValueError:
        pass
    if ":" in raw:
        raise Unusable("a name has no port: it is valid for all ports")
    dot = "." if raw.startswith(".") else ""  # with all of its subdomains
    return dot + _ascii(raw.removeprefix(".").removesuffix("."))


def networks(raw: str) -> tuple[str, ...]:
    """Parse addresses and networks of proxies."""
    found = [ip_network(part.strip(), strict=False) for part in raw.split(",") if part.strip()]
    if any(network.prefixlen == 0 for network in found):
        # otherwise every client could choose the address under which it is counted
        raise Unusable("a network of all addresses trusts every client")
    return tuple(map(str, found))


def redis(raw: str) -> str:
    """Check an address for the Redis client: redis://, rediss:// or unix://."""
    parts = urlsplit(raw)
    if parts.scheme not in ("redis", "rediss", "unix") or any(char.isspace() for char in raw):
        raise ValueError
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise Unusable("unix:// needs the path of the socket: unix:///run/redis/redis.sock")
        if parts.hostname:
            raise Unusable("the path of a socket begins with a slash: unix:///run/redis/redis.sock")
    elif not parts.hostname or parts.port == 0:
        raise ValueError
    elif not re.fullmatch(r"/?|/\d+/?", parts.path):
        raise Unusable("only the number of a database may follow the host: /0")
    _try_client(raw)
    return raw


def _try_client(raw: str) -> None:
    """Create a connection as the client does, without connecting."""
    try:
        options = parse_url(raw)  # type: ignore[no-untyped-call]
        options.pop("connection_class", Connection)(**options)
    except (TypeError, ValueError):
        raise Unusable("one of its ?options is not known, or has a bad value") from None


def base_path(raw: str) -> str:
    """Return the path below which the site is, without a slash at its end; empty for the root."""
    path = raw.rstrip("/")
    if not path:
        return ""
    if not _BASE_PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise ValueError
    if path.split("/")[1] in _OWN_PATHS:
        raise Unusable("it begins with a path of the site itself")
    return path
