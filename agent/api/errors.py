"""Errors of the API as JSON: the one place where an `AgentError` becomes a status.

On the API's paths, Django's own error pages become JSON as well.
"""

from __future__ import annotations

import math
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from ninja.errors import AuthenticationError, HttpError, ValidationError

from agent.actions.incidents import incident_of
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

log = structlog.get_logger(__name__)

#: Where errors are JSON.
PATHS = ("/api/", "/functions/v1/notify_websocket")
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
    (StorageUnavailable, 503),
)
#: Errors that Django answers by itself.
_ERRORS_OF_DJANGO: dict[int, type[AgentError]] = {
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
}


#: Exceptions for which django-ninja has handlers of its own.
ERRORS_OF_NINJA = (Http404, HttpError, ValidationError)


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
            return error_response(incident_of(error, subject="a request"))


def _invalid(problem: dict[str, Any]) -> InvalidMessage:
    name = str(problem["loc"][-1])
    return InvalidMessage(f"The field {name} is wrong: {problem['msg'].lower()}.")


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
    if isinstance(error, InternalError):  # Django's own log line names no incident
        log.error("a request could not be handled", incident=error.incident)
    answer = error_response(error, status=response.status_code)
    if "Allow" in response.headers:
        answer["Allow"] = response.headers["Allow"]
    return answer
