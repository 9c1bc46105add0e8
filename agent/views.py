"""Plain HTTP for people and probes: the page, signing in, health, metrics, forgotten upgrades."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from hmac import compare_digest
from ipaddress import ip_address

import structlog
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import DisallowedHost
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from . import metrics
from .access import authentication
from .actor import Actor
from .api.errors import PATHS, error_response
from .conf import conf, django_setting
from .errors import InternalError
from .store import db, outage, turn_queue
from .store.outage import DATABASE_ERRORS
from .worker import runtime

log = structlog.get_logger(__name__)

#: Below the site: where the page opens its WebSocket, and where it finds the visitor's sessions.
SOCKET_PATH = "ws/agent/"
SESSIONS_PATH = "api/sessions/"
#: The page's, in the order in which they build on each other.
STYLE_SHEETS = [
    f"agent/css/{name}.css"
    for name in (
        "theme",
        "base",
        "header",
        "side",
        "conversation",
        "message",
        "reasoning",
        "markdown",
        "composer",
        "dialog",
        "small",
    )
]

_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
#: How long each query of the database may take.
_COUNT_SECONDS = _CHECK_SECONDS = 3.0

not_kept = cache_control(private=True, no_store=True)


@require_safe
@not_kept
def chat(request: HttpRequest) -> HttpResponse:
    """Return the chat page, whose scripts read the session from `?session=` and connect."""
    if not (conf().allow_anonymous or request.user.is_authenticated):
        return redirect_to_login(request.get_full_path())
    response = HttpResponse()
    visitor = authentication.give_visitor_cookie(request, response)
    user = Actor(user_id=request.user.pk) if request.user.is_authenticated else None
    context = {
        "caller": authentication.caller_name(user or Actor(visitor=visitor)),
        "caller_is_new": not user and authentication.VISITOR_COOKIE in response.cookies,
        "agent_name": conf().agent_name,
        "socket_path": reverse("chat") + SOCKET_PATH,
        "sessions_path": reverse("chat") + SESSIONS_PATH,
        "sign_in_path": reverse("login"),
        "csrf_cookie": django_setting("CSRF_COOKIE_NAME"),
        "style_sheets": STYLE_SHEETS,
    }
    response.content = render_to_string("agent/chat.html", context, request).encode()
    return response


@method_decorator(not_kept, name="dispatch")
class SignIn(LoginView):
    """The sign-in page, which redirects to `?next=`, a path of this site."""

    template_name = "agent/sign_in.html"
    redirect_authenticated_user = True


@csrf_exempt
def expected_websocket(request: HttpRequest) -> HttpResponse:
    """Refuse a plain request, of any method, to a WebSocket's path."""
    return HttpResponse("Expected WebSocket request", status=400, content_type="text/plain")


@require_safe
@not_kept
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that the process is up."""
    return JsonResponse({"status": "ok"})


@not_kept
async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer whether all parts that a session needs work; 503 names the failing parts."""
    process = runtime.current()
    parts = {
        "database": not process.live.is_degraded("database") and await _works(outage.answers),
        "migrations": await _works(_is_migrated),
        "channel_layer": not process.live.broker.degraded,
        "server": process.is_ready,  # not while it starts or drains
    }
    failing = [name for name, fine in parts.items() if not fine]
    return JsonResponse(
        {"status": "failing" if failing else "ok", "failing": failing},
        status=503 if failing else 200,
    )


@require_safe
@not_kept
async def metrics_page(request: HttpRequest) -> HttpResponse:
    """Return the metrics, to clients with METRICS_TOKEN, or without such a setting to loopback."""
    if not _may_scrape(request):
        return HttpResponse("Not allowed", status=403, content_type="text/plain")
    await _count_unfinished()
    return HttpResponse(metrics.page(), content_type=metrics.CONTENT_TYPE)


def _may_scrape(request: HttpRequest) -> bool:
    if expected := conf().metrics_token:
        given = request.headers.get("Authorization", "")
        return compare_digest(given.encode(), f"Bearer {expected}".encode())
    if any(name in request.headers for name in _FORWARDED):
        return False  # through a proxy on this machine, trusted or not
    try:
        request.get_host()
    except DisallowedHost:  # DNS rebinding: a page in a browser on this machine
        return False
    return _is_loopback(request.META.get("REMOTE_ADDR", ""))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def _count_unfinished() -> None:
    """Update the metrics of the queue; they keep their values while the database is unreachable."""
    try:
        async with asyncio.timeout(_COUNT_SECONDS):
            found = await db.read(turn_queue.count_unfinished)
    except (TimeoutError, *DATABASE_ERRORS):
        return
    for state, number in found.items():
        metrics.unfinished.labels(state).set(number)


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """Answer 404 for an unknown address below /api/."""
    return HttpResponseNotFound()


async def _works(check: Callable[[], bool]) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await db.read(check)
    except (TimeoutError, *DATABASE_ERRORS):
        return False


def _is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an unexpected exception with its incident, which the log has with the traceback."""
    error = InternalError()
    log.error("request failed", incident=error.incident, exc_info=sys.exc_info()[1])
    if request.path_info.startswith(PATHS):
        response: HttpResponse = error_response(error)
    else:
        response = render(request, "500.html", {"message": error.message}, status=500)
    response._has_been_logged = True  # type: ignore[attr-defined]  # or Django logs it once more
    return response
