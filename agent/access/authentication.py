"""Who is calling: the `Access` of a connection or request, which is an `Actor` and what it showed.

A token in the `Authorization` header (or the sub-protocol `bearer.<token>`) comes first: an API
token or a resume token. Then Django's login cookie, then the signed visitor cookie, else nobody. A
bad token is refused, never passed over. On a WebSocket, cookies count only with an `Origin` of this
site or of `ALLOWED_ORIGINS`; on plain HTTP, where browsers send none with their own pages' reads,
not with a foreign one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth import get_user
from django.core.handlers.asgi import ASGIRequest
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.http.request import validate_host
from django.utils.crypto import salted_hmac

from agent.actor import Access, Actor, Scope
from agent.conf import conf, django_setting
from agent.errors import Forbidden, Unauthenticated
from agent.store import db

from . import api_tokens
from .logins import SessionStore

VISITOR_COOKIE: str = django_setting("VISITOR_COOKIE_NAME")
_CALLER_CHARS = 24
_VISITOR_SECONDS = 365 * 24 * 3600
#: One answer for every token that does not count, so that nothing can be learnt from it.
_BAD_TOKEN = "This token is not valid. Ask for a new one."  # noqa: S105
_DEFAULT_PORTS = {"http": 80, "https": 443}


def resume_token(session_id: UUID) -> str:
    """A bearer token good for this one session."""
    return _signer("resume").sign(session_id.hex).replace(":", ".")


def caller_name(actor: Actor) -> str:
    """An opaque name of a caller for its own client, the same at each visit; empty for nobody.

    It lets a browser keep what one person typed apart from the next person's, and tells nothing.
    """
    digest = salted_hmac("agent.caller", actor.key, algorithm="sha256").hexdigest()
    return digest[:_CALLER_CHARS] if actor.key else ""


def origin_is_ours(scope: dict[str, Any]) -> bool | None:
    """Whether a handshake's Origin is this site or an allowed one; None when there is none."""
    return _origin_is_ours(_handshake(scope))


def _origin_is_ours(request: HttpRequest) -> bool | None:
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    if origin.lower() in conf().allowed_origins:
        return True
    scheme = (request.scheme or "").replace("ws", "http")
    own = f"{scheme}://{request.headers.get('Host', '')}"
    return _host_is_allowed(own) and _place(origin) == _place(own)


def _place(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for what is no origin, or more than one."""
    try:
        parts = urlsplit(address.lower())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not (parts.hostname and port) or parts.geturl() != f"{parts.scheme}://{parts.netloc}":
        return None
    return None if "@" in parts.netloc else (parts.scheme, parts.hostname, port)


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


async def authenticate(scope: dict[str, Any]) -> Access:
    """The caller of a WebSocket handshake.

    Raises:
        Unauthenticated: a bad token, or nobody where nobody may come.
    """
    request = _handshake(scope)
    if token := _bearer_token(request) or _offered_token(scope):
        if token.startswith(api_tokens.MARK):
            return await db.transact(_api_token, token)
        return _resume_token(token)
    if _origin_is_ours(request) and request.COOKIES:
        return _checked(await db.read(_by_cookie, request.COOKIES))
    return _checked(Access())


def authenticate_request(request: HttpRequest) -> Access:
    """The caller of a plain HTTP request. Uses the database: not for the event loop.

    Where a cookie made the caller (`Access.by_cookie`), a request that changes something also
    needs Django's CSRF check; where a token did, it does not.

    Raises:
        Unauthenticated: a bad token, or nobody where nobody may come.
    """
    if token := _bearer_token(request):
        return _api_token(token) if token.startswith(api_tokens.MARK) else _resume_token(token)
    if _origin_is_ours(request) is False:
        return _checked(Access())
    return _checked(_by_cookie(request.COOKIES))


def require(access: Access, scope: Scope) -> None:
    """Let only those go on whose credential is good for this.

    Raises:
        Forbidden: it is not.
    """
    if scope not in access.scopes:
        raise Forbidden(f"This token is not good for this: it lacks the scope {scope}.")


def _bearer_token(request: HttpRequest) -> str:
    """The token of the `Authorization` header, or an empty text."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or "." if scheme.lower() == "bearer" else ""


def _offered_token(scope: dict[str, Any]) -> str:
    """The token among a handshake's sub-protocols, or an empty text."""
    offered = scope.get("subprotocols", [])
    return next((name[7:] or "." for name in offered if name.startswith("bearer.")), "")


def _api_token(token: str) -> Access:
    row = api_tokens.find(token)
    if row is None:
        raise Unauthenticated(_BAD_TOKEN)
    actor = Actor(user_id=row.user_id) if row.user_id else Actor(token_id=row.pk)
    return Access(actor, "token", frozenset(row.scopes), token_id=row.pk)


def _resume_token(token: str) -> Access:
    try:
        session_id = UUID(_signer("resume").unsign(":".join(token.rsplit(".", 1))))
    except (BadSignature, ValueError):
        raise Unauthenticated(_BAD_TOKEN) from None
    return Access(Actor(session_id=session_id), "resume")


def _checked(access: Access) -> Access:
    if not conf().allow_anonymous and access.actor.user_id is None:
        raise Unauthenticated
    return access


def _by_cookie(cookies: Mapping[str, str]) -> Access:
    if key := cookies.get(django_setting("SESSION_COOKIE_NAME")):
        request = HttpRequest()
        request.session = SessionStore(key)
        # A login that a former SECRET_KEY signed would get another id here, of which the browser is
        # not told. The next page does that.
        request.session.cycle_key = lambda: None  # type: ignore[method-assign]
        user = get_user(request)
        if user.is_authenticated:
            return Access(
                Actor(user_id=user.pk),
                "login",
                login=request.session.session_key or "",
                login_hash=user.get_session_auth_hash(),
            )
    visitor = _visitor_id(cookies.get(VISITOR_COOKIE, ""))
    return Access(Actor(visitor=visitor), "visitor") if visitor else Access()


def _visitor_id(cookie: str) -> str:
    try:
        return _signer("visitor").unsign(cookie)
    except BadSignature:
        return ""


def give_visitor_cookie(request: HttpRequest, response: HttpResponse) -> str:
    """Let this browser be the same visitor from now on, where visitors may come; returns its id."""
    known = _visitor_id(request.COOKIES.get(VISITOR_COOKIE, ""))
    if known or not conf().allow_anonymous:
        return known
    visitor = secrets.token_hex(16)
    response.set_cookie(
        VISITOR_COOKIE,
        _signer("visitor").sign(visitor),
        max_age=_VISITOR_SECONDS,
        path=django_setting("SESSION_COOKIE_PATH"),
        httponly=True,
        secure=django_setting("SECURE_COOKIES"),
        samesite="Lax",
    )
    return visitor


def _signer(use: str) -> Signer:
    return Signer(salt=f"agent.{use}")


def _handshake(scope: dict[str, Any]) -> HttpRequest:
    """A WebSocket handshake as Django would read it, for its headers and scheme alone."""
    rest = {"method": "GET", "path": "/", "query_string": b"", "root_path": ""}
    one = with_one_cookie_header(scope)
    return ASGIRequest({"scheme": "ws", **one, **rest}, BytesIO())
