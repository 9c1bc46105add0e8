"""Plain HTTP as the API takes it and answers it: bodies, callers, errors. No endpoint is here.

The one place where an `AgentError` becomes a status, and where whatever else a request of the API
may end with (Django's own pages for 400, 404, 405 and 500) becomes JSON too.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from agent.access import authentication
from agent.access.limits import address_of, caller_of
from agent.actions import export
from agent.actor import CHAT, NOTIFY, Access, Scope
from agent.conf import conf, django_setting
from agent.connection import transport
from agent.errors import (
    AgentError,
    Conflict,
    Forbidden,
    InternalError,
    InvalidJson,
    InvalidMessage,
    MethodNotAllowed,
    NotFound,
    NotJson,
    Overloaded,
    RateLimited,
    StorageUnavailable,
    TooLarge,
    Unauthenticated,
)
from agent.live.publish import comeback_seconds
from agent.protocol.strict_json import parse_object, refuse_nul
from agent.store import db
from agent.worker import runtime

log = structlog.get_logger(__name__)

#: Where errors are JSON.
PATHS = ("/api/", "/functions/v1/notify_websocket")
_SAFE = ("GET", "HEAD", "OPTIONS")
#: How long an unfinished request waits until its address or caller has finished another.
_WAIT_SECONDS = 10.0
#: Of a response that is sent in one go.
_PART_BYTES = 64 * 1024
#: Where a request's scope has the places that it takes.
_SLOTS = "agent.places"
#: The first class that fits counts.
_STATUSES: tuple[tuple[type[AgentError], int], ...] = (
    (NotJson, 415),
    (InvalidJson, 400),
    (MethodNotAllowed, 405),
    (InvalidMessage, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (RateLimited, 429),
    (Overloaded, 503),
)
#: What Django answers by itself.
_ERRORS_OF_DJANGO: dict[int, type[AgentError]] = {
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
}


#: What django-ninja has handlers of its own for.
ERRORS_OF_NINJA = (Http404, HttpError, ValidationError)


# errors


def error_response(error: AgentError, *, status: int = 0) -> JsonResponse:
    """An error as the API answers it."""
    status = status or next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
    body = {"error": {"code": error.code, "message": error.message}}
    response = JsonResponse(body, status=status)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def answer_exception(request: HttpRequest, error: Any) -> HttpResponse:
    """Any exception of an endpoint, as a response."""
    if isinstance(error, HttpError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of our parser
    match error:
        case AgentError() if not isinstance(error, InternalError):
            return error_response(error)
        case Http404():
            return error_response(NotFound())
        case ValidationError():
            return error_response(_invalid(error.errors[0]))
        case AuthenticationError():
            return error_response(Unauthenticated())
        case RequestDataTooBig():
            return error_response(TooLarge())
        case _:
            if isinstance(error, db.DATABASE_ERRORS):
                return error_response(_unavailable(error), status=503)
            return error_response(_internal(error))


def _invalid(problem: dict[str, Any]) -> InvalidMessage:
    name = str(problem["loc"][-1])
    return InvalidMessage(f"The field {name} is wrong: {problem['msg'].lower()}.")


def _unavailable(error: Exception) -> StorageUnavailable:
    unavailable = StorageUnavailable(retry_after=comeback_seconds())
    log.info(
        "a request was refused",
        incident=unavailable.incident,
        error=type(error).__name__,
        reason=db.reason(error),
    )
    return unavailable


def _internal(error: Exception) -> InternalError:
    internal = error if isinstance(error, InternalError) else InternalError()
    log.error(
        "a request could not be answered",
        incident=internal.incident,
        error=type(error).__name__,
        exc_info=error,
    )
    return internal


class ErrorsAsJson:
    """Middleware: on the paths of the API, errors of Django are JSON too, and nothing is kept."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self._get_response(request)
        if not request.path_info.startswith(PATHS):
            return response
        if response.status_code >= 400 and not _is_json(response):
            response = _translated(response)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def _is_json(response: HttpResponseBase) -> bool:
    return response.headers.get("Content-Type", "").startswith("application/json")


def _translated(response: HttpResponseBase) -> HttpResponse:
    kind = _ERRORS_OF_DJANGO.get(response.status_code)
    if kind is None:
        kind = InternalError if response.status_code >= 500 else InvalidMessage
    error = kind()
    if isinstance(error, InternalError):  # what Django logged names no incident
        log.error("a request could not be answered", incident=error.incident)
    answer = error_response(error, status=response.status_code)
    if "Allow" in response.headers:
        answer["Allow"] = response.headers["Allow"]
    return answer


async def json_response(value: Any) -> HttpResponse:
    """An answer that may be long, encoded off the event loop."""
    text = await asyncio.to_thread(json.dumps, value, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, content_type="application/json; charset=utf-8")


# bodies


class StrictJson(Parser):
    """Bodies are JSON objects as strict as frames are."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type not in ("", "application/json"):
            raise NotJson
        if len(request.body) > conf().max_frame_bytes:
            raise TooLarge(f"A body may have {conf().max_frame_bytes} bytes; this one has more.")
        try:
            text = request.body.decode()
        except UnicodeDecodeError:
            raise InvalidJson from None
        fields = parse_object(text)
        refuse_nul(text, fields)
        return fields


class Bounded:
    """ASGI middleware: neither a body without an end nor an answer that nobody reads is kept.

    Django writes bodies to a file before it looks at their size, and both servers take whatever
    they are given to send. An address has a bounded number of unfinished requests; one is finished
    when its client has taken the response, which it has to do at some pace.

    Args:
        application: what is bounded.
        max_bytes: of a request's body.
    """

    def __init__(self, application: Any, max_bytes: int) -> None:
        self._application, self._max_bytes = application, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length = dict(scope["headers"]).get(b"content-length", b"")
        left = self._max_bytes - (int(length) if length.isdigit() else 0)
        if left < 0:
            await _refuse_body(send)
            return

        address, slots = address_of(scope), []
        try:
            if not runtime.current().addresses.is_proxy(address):
                limits = runtime.current().limits
                slots.append(await limits.request("address", address, _WAIT_SECONDS))
        except RateLimited as error:
            await _refuse(send, 429, error)
            return
        try:
            await self._within({**scope, _SLOTS: slots}, receive, send)
        finally:
            for slot in slots:
                await runtime.current().limits.end_request(slot)

    async def _within(self, scope: Any, receive: Any, send: Any) -> None:
        left = self._max_bytes

        async def counted() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _BodyTooLarge
            return message

        async def paced(message: Any) -> None:
            for part in _parts(message):
                await transport.taken(send)
                await send(part)

        try:
            await self._application(scope, counted, paced)
            await transport.taken(send)
        except _BodyTooLarge:
            await _refuse_body(send)
        except export.Ended as ended:
            log.info("an export was cut off", reason=str(ended))
            transport.abort(send)
            while (await receive())["type"] != "http.disconnect":
                pass
        except transport.TooSlow:
            log.info("a response was not read")


def _parts(message: Any) -> Iterator[Any]:
    """A message of a response in pieces, so that the next is held back until one is taken."""
    body = message.get("body", b"")
    if len(body) <= _PART_BYTES:
        yield message
        return
    for start in range(0, len(body), _PART_BYTES):
        last = start + _PART_BYTES >= len(body)
        more = message.get("more_body", False) or not last
        yield {**message, "body": body[start : start + _PART_BYTES], "more_body": more}


class _BodyTooLarge(Exception):
    pass


async def _refuse_body(send: Any) -> None:
    await _refuse(send, 413, TooLarge("This body is too large. Send a smaller one."))


async def _refuse(send: Any, status: int, error: AgentError) -> None:
    body = json.dumps({"error": {"code": error.code, "message": error.message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(body)).encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# callers


class Token(AuthBase):
    """An API token with this scope; for `chat` a resume token is good for its session too."""

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
    """A browser: somebody who signed in, or a visitor. Changes need Django's CSRF token."""

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
    """A request counts as a frame of its caller does, and as one of its unfinished ones."""
    caller = caller_of(access.actor, address_of_request(request))
    runtime.current().limits.frame(caller)
    if slots := getattr(request, "scope", {}).get(_SLOTS):
        slots.append(await runtime.current().limits.request("caller", caller, _WAIT_SECONDS))


async def count_write(request: Any) -> None:
    """Count a request that changes a session, as a frame that does.

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
