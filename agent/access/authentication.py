"""The caller of a connection or request: an `Actor`, and as `Access` with its credential.

A token in the `Authorization` header (or the sub-protocol `bearer.<token>`) comes first: an API
token or a resume token. Then Django's login cookie, then the signed visitor cookie; without any of
them the caller is anonymous. A bad token is refused, never passed over. On a WebSocket, cookies
count only with an `Origin` of this site or of `ALLOWED_ORIGINS`; on plain HTTP, where browsers send
no `Origin` when their own pages read, not with a foreign one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from agent.actor import Access, Actor, Scope
from agent.conf import conf, django_setting
from agent.errors import Forbidden, Unauthenticated
from agent.store import db

from . import api_tokens
from .logins import SessionStore
from .origin import handshake_of, request_origin_is_ours

VISITOR_COOKIE: str = django_setting("VISITOR_COOKIE_NAME")
_CALLER_CHARS = 24
_VISITOR_SECONDS = 365 * 24 * 3600
#: One answer for every invalid token, so that nothing can be learnt from it.
_BAD_TOKEN = "This token is not valid. Ask for a new one."  # noqa: S105


def resume_token(session_id: UUID) -> str:
    """A bearer token good for this one session."""
    return _signer("resume").sign(session_id.hex).replace(":", ".")


def caller_name(actor: Actor) -> str:
    """An opaque name of a caller for its own client, the same at each visit; empty if anonymous.

    It lets a browser keep what one person typed apart from the next person's, and tells nothing.
    """
    digest = salted_hmac("agent.caller", actor.key, algorithm="sha256").hexdigest()
    return digest[:_CALLER_CHARS] if actor.key else ""


async def authenticate(scope: dict[str, Any]) -> Access:
    """The caller of a WebSocket handshake.

    Raises:
        Unauthenticated: a bad token, or an anonymous caller without ALLOW_ANONYMOUS.
    """
    request = handshake_of(scope)
    if token := _bearer_token(request) or _offered_token(scope):
        if token.startswith(api_tokens.MARK):
            return await db.transact(_api_token, token)
        return _resume_token(token)
    if request_origin_is_ours(request) and request.COOKIES:
        return _checked(await db.read(_by_cookie, request.COOKIES))
    return _checked(Access())


def authenticate_request(request: HttpRequest) -> Access:
    """The caller of a plain HTTP request. Uses the database: not for the event loop.

    Where a cookie made the caller (`Access.by_cookie`), a request that changes something also
    needs Django's CSRF check; where a token did, it does not.

    Raises:
        Unauthenticated: a bad token, or an anonymous caller without ALLOW_ANONYMOUS.
    """
    if token := _bearer_token(request):
        return _api_token(token) if token.startswith(api_tokens.MARK) else _resume_token(token)
    if request_origin_is_ours(request) is False:
        return _checked(Access())
    return _checked(_by_cookie(request.COOKIES))


def require(access: Access, scope: Scope) -> None:
    """Check that a credential has a scope.

    Raises:
        Forbidden: it has not.
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
        # A login that a former SECRET_KEY signed would get another id here, which the browser would
        # not learn. The next page cycles it.
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
    """Make this browser the same visitor from now on, if visitors are allowed; returns its id."""
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
