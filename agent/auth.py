"""Who is calling: the `Actor` of a connection or request.

A resume token in the `Authorization` header (or the sub-protocol `bearer.<token>`) comes first,
then Django's login cookie, then the signed visitor cookie, else nobody. A bad token is refused,
never passed over. Cookies count only with an `Origin` of this site or of `ALLOWED_ORIGINS`.
"""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth import get_user
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.http.request import validate_host

from . import db
from .actor import Actor
from .conf import conf, django_setting
from .errors import Unauthenticated

VISITOR_COOKIE = "agent_visitor"
_VISITOR_SECONDS = 365 * 24 * 3600
_DEFAULT_PORTS = {"http": 80, "https": 443}


def resume_token(session_id: UUID) -> str:
    """A bearer token good for this one session."""
    return _signer("resume").sign(session_id.hex).replace(":", ".")


def origin_is_ours(scope: dict[str, Any]) -> bool | None:
    """Whether a request's Origin is this site or an allowed one; None when there is none."""
    origin = _header(scope, b"origin")
    if origin is None:
        return None
    if origin.lower() in conf().allowed_origins:
        return True
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "ws"), "http")
    own = f"{scheme}://{_header(scope, b'host') or ''}"
    return _host_is_allowed(own) and _place(origin) == _place(own)


def _place(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin."""
    try:
        parts = urlsplit(address.lower())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None


def _host_is_allowed(own: str) -> bool:
    place = _place(own)
    allowed = django_setting("ALLOWED_HOSTS")
    return place is not None and validate_host(
        f"[{place[1]}]" if ":" in place[1] else place[1], allowed
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


async def authenticate(scope: dict[str, Any]) -> Actor:
    """The caller of a WebSocket handshake.

    Raises:
        Unauthenticated: a bad token, or nobody where nobody may come.
    """
    if token := bearer_token(scope):
        return _token_actor(token)
    actor = await db.read(_cookie_actor, scope) if origin_is_ours(scope) else Actor()
    if not conf().allow_anonymous and actor.user_id is None:
        raise Unauthenticated
    return actor


def bearer_token(scope: dict[str, Any]) -> str:
    """The token of a request's `Authorization` header or sub-protocols, or an empty text."""
    header = _header(scope, b"authorization") or ""
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip() or "."
    offered = scope.get("subprotocols", [])
    return next((name[7:] or "." for name in offered if name.startswith("bearer.")), "")


def _token_actor(token: str) -> Actor:
    try:
        session_id = _signer("resume").unsign(":".join(token.rsplit(".", 1)))
        return Actor(session_id=UUID(session_id))
    except (BadSignature, ValueError):
        raise Unauthenticated("This token is not valid. Ask for a new one.") from None


def _cookie_actor(scope: dict[str, Any]) -> Actor:
    cookies = SimpleCookie()
    try:
        cookies.load(_header(scope, b"cookie") or "")
    except CookieError:
        return Actor()
    if login := cookies.get(django_setting("SESSION_COOKIE_NAME")):
        store = import_module(django_setting("SESSION_ENGINE")).SessionStore
        request = HttpRequest()
        request.session = store(login.value)
        user = get_user(request)
        if user.is_authenticated:
            return Actor(user_id=user.pk)
    visitor = cookies.get(VISITOR_COOKIE)
    return Actor(visitor=_visitor_id(visitor.value)) if visitor else Actor()


def _visitor_id(cookie: str) -> str:
    try:
        return _signer("visitor").unsign(cookie)
    except BadSignature:
        return ""


def give_visitor_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """Let this browser be the same visitor from now on, where visitors may come."""
    if not conf().allow_anonymous or _visitor_id(request.COOKIES.get(VISITOR_COOKIE, "")):
        return
    response.set_cookie(
        VISITOR_COOKIE,
        _signer("visitor").sign(secrets.token_hex(16)),
        max_age=_VISITOR_SECONDS,
        httponly=True,
        secure=django_setting("SECURE_COOKIES"),
        samesite="Lax",
    )


def _signer(use: str) -> Signer:
    return Signer(salt=f"agent.{use}")


def _header(scope: dict[str, Any], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
