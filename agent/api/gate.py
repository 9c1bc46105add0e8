"""The checks of a plain HTTP request before it uses the database: limits, and a free slot.

Django middleware, outside everything that has to do with logins. A request that is refused here has
cost no query, and its client learns when to come back.
"""

from __future__ import annotations

import asyncio
import math
import unicodedata
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from weakref import WeakValueDictionary

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from agent.errors import AgentError, Overloaded, RateLimited
from agent.store import slots
from agent.store.lanes import HEALTH, PAGES, STAFF
from agent.worker import runtime

from .auth import address_of_request
from .errors import PATHS, error_response

#: Requested by probes and scrapers.
_HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
_STAFF_PATH = "/admin/"
_SIGN_IN_PATHS = ("/login/", "/admin/login/")
#: How long an attempt to sign in waits for an earlier one with the same name.
_NAME_SECONDS = 30.0
_NAME_FIELD = "username"  # of Django's form, whatever the field of the user model is called


class Gate:
    """The middleware."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
        self._names: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            if request.method == "POST" and request.path_info in _SIGN_IN_PATHS:
                return await self._sign_in(request)
            return await self._respond(request)
        except (Overloaded, RateLimited) as error:
            return refusal(request, error)

    async def _sign_in(self, request: HttpRequest) -> HttpResponseBase:
        """Count an attempt to sign in before its name is looked up.

        One name's tries come one after the other: a right password takes its count back, so that
        several people who share an account may sign in at the same moment.
        """
        address, name = address_of_request(request), _counted_name(request)
        await runtime.current().limits.signing_in(address)
        mine = self._names.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(_NAME_SECONDS):
                await mine.acquire()
        except TimeoutError:
            raise Overloaded(retry_after=_NAME_SECONDS) from None
        try:
            await runtime.current().limits.guessing(address, name)
            response = await self._respond(request)
            if _same_name(getattr(request, "signed_in_as", ""), name):
                await runtime.current().limits.signed_in(address, name)
        finally:
            mine.release()
        return response

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        lane = _lane_of(request.path_info)
        with slots.lane(lane):
            if lane == HEALTH or request.path_info.startswith(PATHS):
                return await self._get_response(request)  # takes a slot for each look-up, or none
            async with slots.slot():
                return await self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A view lost its slot while it hashed a password, and got none back."""
        return refusal(request, error) if isinstance(error, Overloaded) else None


def refusal(request: HttpRequest, error: AgentError) -> HttpResponse:
    """The answer to a request that has to come back later: JSON on the API's paths, else a page."""
    if request.path_info.startswith(PATHS):
        return error_response(error)
    status = 503 if isinstance(error, Overloaded) else 429
    seconds = math.ceil(error.retry_after or 1)
    context = {"message": error.message, "seconds": seconds}
    response = render(request, "agent/later.html", context, status=status)
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "private, no-store"
    response._has_been_logged = True  # type: ignore[attr-defined]  # the visitor sees it; the log need not
    return response


def note_sign_in(request: Any = None, user: Any = None, **_: object) -> None:
    """Receiver of `user_logged_in`: a redirect alone does not prove a sign-in."""
    if request is not None:
        request.signed_in_as = user.get_username()


def _lane_of(path: str) -> str:
    if path in _HEALTH_PATHS:
        return HEALTH
    return STAFF if path.startswith(_STAFF_PATH) and path not in _SIGN_IN_PATHS else PAGES


def _counted_name(request: HttpRequest) -> str:
    """The digest of the name that is tried: counts need no names of people."""
    return _digest(request.POST.get(_NAME_FIELD, ""))


def _same_name(name: str, counted: str) -> bool:
    return bool(name) and _digest(name) == counted


def _digest(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).strip().casefold()
    return sha256(plain.encode(errors="replace")).hexdigest()[:32]
