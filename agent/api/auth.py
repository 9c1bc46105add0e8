"""Callers of the API: how they show who they are, and how their requests are counted."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from agent.access import authentication
from agent.access.limits import REQUEST_SLOTS, WAIT_SECONDS, address_of, caller_of
from agent.actor import CHAT, NOTIFY, Access, Scope
from agent.conf import django_setting
from agent.errors import Forbidden, Unauthenticated
from agent.store import db
from agent.worker import runtime

_SAFE = ("GET", "HEAD", "OPTIONS")


class Token(AuthBase):
    """An API token with this scope; `chat` accepts a resume token as well, for its session."""

    openapi_type, openapi_scheme = "http", "bearer"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    async def __call__(self, request: HttpRequest) -> Access | None:
        if "Authorization" not in request.headers:
            return None
        address = address_of_request(request)
        await runtime.current().limits.trying_token(address)
        try:
            access = await db.transact(authentication.authenticate_request, request)
        except Unauthenticated:
            await runtime.current().limits.bad_token(address)
            raise
        if access.by_cookie or not access.credential:  # the header was no bearer token
            return None
        authentication.require(access, self._scope)
        await _count(request, access)
        return access


class Cookie(AuthBase):
    """A browser, of a user who signed in or of a visitor. Changes need Django's CSRF token."""

    openapi_type, openapi_in = "apiKey", "cookie"
    openapi_name = django_setting("SESSION_COOKIE_NAME")

    async def __call__(self, request: HttpRequest) -> Access | None:
        access = await db.read(authentication.authenticate_request, request)
        if not access.by_cookie:
            return None
        await _count(request, access)
        if request.method not in _SAFE and check_csrf(request):
            raise Forbidden("Send the CSRF token of this site in X-CSRFToken.")
        return access


async def _count(request: Any, access: Access) -> None:
    """Count a request as a frame of its caller, and as one of its unfinished requests."""
    caller = caller_of(access.actor, address_of_request(request))
    runtime.current().limits.frame(caller)
    if slots := getattr(request, "scope", {}).get(REQUEST_SLOTS):
        slots.append(await runtime.current().limits.request("caller", caller, WAIT_SECONDS))


async def count_write(request: Any) -> None:
    """Count a request that changes a session, as such a frame is counted.

    Raises:
        RateLimited: too many.
    """
    actor, address = request.auth.actor, address_of_request(request)
    shared_bucket = address if actor.visitor else ""
    await runtime.current().limits.write(caller_of(actor, address), address, shared_bucket)


async def count_notification(request: Any) -> None:
    """Count a notification.

    Raises:
        RateLimited: too many.
    """
    caller = caller_of(request.auth.actor, address_of_request(request))
    await runtime.current().limits.notification(caller)


def address_of_request(request: HttpRequest) -> str:
    """The client's address as it is counted."""
    return address_of({"client": (request.META.get("REMOTE_ADDR", ""), 0)})


SENDER = [Token(NOTIFY)]
CALLER = [Token(CHAT), Cookie()]
