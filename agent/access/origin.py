"""The page that a browser's request comes from, and the headers of a WebSocket handshake."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.http.request import validate_host

from agent.conf import conf, django_setting

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_is_ours(scope: dict[str, Any]) -> bool | None:
    """Whether a handshake's Origin is this site or an allowed one; None when there is none."""
    return request_origin_is_ours(handshake_of(scope))


def request_origin_is_ours(request: HttpRequest) -> bool | None:
    """Whether a request's Origin is this site or an allowed one; None when there is none."""
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    if origin.lower() in conf().allowed_origins:
        return True
    scheme = (request.scheme or "").replace("ws", "http")
    own = f"{scheme}://{request.headers.get('Host', '')}"
    return _host_is_allowed(own) and _parts(origin) == _parts(own)


def _parts(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for a text that is no single origin."""
    try:
        split = urlsplit(address.lower())
        port = split.port or _DEFAULT_PORTS.get(split.scheme)
    except ValueError:
        return None
    if not (split.hostname and port) or split.geturl() != f"{split.scheme}://{split.netloc}":
        return None
    return None if "@" in split.netloc else (split.scheme, split.hostname, port)


def _host_is_allowed(own: str) -> bool:
    parts = _parts(own)
    allowed = django_setting("ALLOWED_HOSTS")
    return parts is not None and validate_host(
        f"[{parts[1]}]" if ":" in parts[1] else parts[1], allowed
    )


class OriginGuard:
    """ASGI middleware that refuses a WebSocket from a foreign page with HTTP 403."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if origin_is_ours(scope) is False:
            await deny(scope, receive, send)
        else:
            await self._application(scope, receive, send)


async def deny(scope: Any, receive: Any, send: Any) -> Any:
    """Refuse a WebSocket handshake with HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


def with_one_cookie_header(scope: Any) -> Any:
    """An ASGI scope whose `Cookie` headers are joined to one, in their order.

    A client or proxy that speaks HTTP/2 may send each cookie by itself (RFC 9113, 8.2.3). Django
    would join them with commas, which end no cookie.
    """
    headers = scope.get("headers", ())
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return scope
    others = [(name, value) for name, value in headers if name != b"cookie"]
    return {**scope, "headers": [*others, (b"cookie", b"; ".join(cookies))]}


def handshake_of(scope: dict[str, Any]) -> HttpRequest:
    """A WebSocket handshake as Django would read it, for its headers and scheme alone."""
    rest = {"method": "GET", "path": "/", "query_string": b"", "root_path": ""}
    one = with_one_cookie_header(scope)
    return ASGIRequest({"scheme": "ws", **one, **rest}, BytesIO())
