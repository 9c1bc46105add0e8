"""What variables hold that name places: origins, networks, Redis, the path below which the site is.

Each function takes the text of a variable and raises `Unusable` with the reason for what can never
work, so that the start says it instead of a later error about something else.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_network
from urllib.parse import urlsplit

from redis.connection import Connection, parse_url

from .environment import Unusable

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
#: The first parts of our own addresses. Below one of them nobody could tell which part is ours.
_OWN_PATHS = {"admin", "api", "functions", "healthz", "login", "logout", "metrics"}
_OWN_PATHS |= {"readyz", "static", "ws"}


def origins(raw: str) -> tuple[str, ...]:
    """Origins as browsers write them: in lower case, in ASCII, without a default port."""
    return tuple(_origin(part.strip()) for part in raw.split(",") if part.strip())


def _origin(raw: str) -> str:
    if "*" in raw:
        raise Unusable("* matches nothing: each origin is named in full")
    try:
        parts = urlsplit(raw.lower().removesuffix("/"))
        port, host = parts.port, parts.hostname
    except ValueError:
        raise Unusable("one has a host or a port that is none") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise Unusable("one does not start with http:// or https://")
    if "@" in parts.netloc:
        raise Unusable("one has a user or a password, which no browser sends")
    if parts.path or parts.query or parts.fragment or "?" in raw or "#" in raw:
        raise Unusable("one has something after its host and port")
    if not host or port == 0 or parts.netloc.endswith(":"):
        raise Unusable("one has a host or a port that is none")
    written = f"[{host}]" if ":" in host else _ascii(host)
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{written}{shown}"


def _ascii(host: str) -> str:
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", name):
        raise Unusable("one has a name that no host can have")
    return name


def hosts(raw: str) -> tuple[str, ...]:
    """Names of this site as Django compares them: without scheme and port, IPv6 in brackets."""
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
        raise Unusable("a name has no port: each one counts for all ports")
    dot = "." if raw.startswith(".") else ""  # with all of its subdomains
    return dot + _ascii(raw.removeprefix(".").removesuffix("."))


def networks(raw: str) -> tuple[str, ...]:
    """Addresses and networks of proxies."""
    found = [ip_network(part.strip(), strict=False) for part in raw.split(",") if part.strip()]
    if any(network.prefixlen == 0 for network in found):
        # who trusts everybody believes what clients say of their own addresses
        raise Unusable("a network of all addresses trusts everybody")
    return tuple(map(str, found))


def redis(raw: str) -> str:
    """An address that the Redis client takes: redis://, rediss:// or unix://."""
    parts = urlsplit(raw)
    if parts.scheme not in ("redis", "rediss", "unix") or any(char.isspace() for char in raw):
        raise ValueError
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise Unusable("unix:// wants the path of the socket: unix:///run/redis/redis.sock")
        if parts.hostname:
            raise Unusable("the path of a socket begins with a slash: unix:///run/redis/redis.sock")
    elif not parts.hostname or parts.port == 0:
        raise ValueError
    elif not re.fullmatch(r"/?|/\d+/?", parts.path):
        raise Unusable("what comes after the host is the number of a database: /0")
    _try_client(raw)
    return raw


def _try_client(raw: str) -> None:
    """Make a connection as the client does; it connects to nothing yet."""
    try:
        options = parse_url(raw)  # type: ignore[no-untyped-call]
        options.pop("connection_class", Connection)(**options)
    except (TypeError, ValueError):
        raise Unusable("one of its ?options is not known, or has a bad value") from None


def base_path(raw: str) -> str:
    """The path below which the whole site is, without a slash at its end; empty for the root."""
    path = raw.rstrip("/")
    if not path:
        return ""
    if not _BASE_PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise ValueError
    if path.split("/")[1] in _OWN_PATHS:
        raise Unusable("it begins with a path that the site has itself")
    return path
