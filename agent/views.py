"""Plain HTTP: the chat page, health, and the answer to those who forgot to upgrade."""

from __future__ import annotations

import sys
from collections.abc import Callable

import structlog
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from . import auth, db, live
from .conf import conf
from .errors import InternalError

log = structlog.get_logger(__name__)

#: Where the page opens its WebSocket.
SOCKET_PATH = "/ws/agent/"

not_kept = cache_control(private=True, no_store=True)


@require_safe
@not_kept
def chat(request: HttpRequest) -> HttpResponse:
    """The chat page; its scripts read the session from `?session=` and connect."""
    response = render(
        request,
        "agent/chat.html",
        {"agent_name": conf().agent_name, "socket_path": SOCKET_PATH, "sign_in_path": ""},
    )
    auth.give_visitor_cookie(request, response)
    return response


@csrf_exempt
def expected_websocket(request: HttpRequest) -> HttpResponse:
    """A plain request of any method on a socket's path."""
    return HttpResponse("Expected WebSocket request", status=400, content_type="text/plain")


@require_safe
@not_kept
def healthz(request: HttpRequest) -> HttpResponse:
    """The process is up."""
    return JsonResponse({"status": "ok"})


@not_kept
async def readyz(request: HttpRequest) -> HttpResponse:
    """Whether the parts that a session needs are fine; 503 names the failing ones."""
    parts = {
        "database": await _works(db.answers),
        "migrations": await _works(_is_migrated),
        "channel_layer": not live.relay().degraded,
    }
    failing = [name for name, fine in parts.items() if not fine]
    return JsonResponse(
        {"status": "failing" if failing else "ok", "failing": failing},
        status=503 if failing else 200,
    )


async def _works(check: Callable[[], bool]) -> bool:
    try:
        return await db.read(check)
    except db.DATABASE_ERRORS:
        return False


def _is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def server_error(request: HttpRequest) -> HttpResponse:
    """The answer to an unexpected exception: its incident, which the log has with the traceback."""
    error = InternalError()
    log.error("request failed", incident=error.incident, exc_info=sys.exc_info()[1])
    if request.path.startswith("/api/"):
        body = {"error": {"code": error.code, "message": error.message}}
        response: HttpResponse = JsonResponse(body, status=500)
    else:
        response = HttpResponse(error.message, status=500, content_type="text/plain; charset=utf-8")
    response._has_been_logged = True  # type: ignore[attr-defined]  # or Django logs it once more
    return response
