"""Plain HTTP: the chat page, signing in, health, and the answer to those who forgot to upgrade."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.views import LoginView, redirect_to_login
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from . import auth, db, live
from .conf import conf

#: Where the page opens its WebSocket.
SOCKET_PATH = "/ws/agent/"

not_kept = cache_control(private=True, no_store=True)


@require_safe
@not_kept
def chat(request: HttpRequest) -> HttpResponse:
    """The chat page; its scripts read the session from `?session=` and connect."""
    if not (conf().allow_anonymous or request.user.is_authenticated):
        return redirect_to_login(request.get_full_path())
    response = render(
        request,
        "agent/chat.html",
        {
            "agent_name": conf().agent_name,
            "socket_path": SOCKET_PATH,
            "sign_in_path": reverse("login"),
        },
    )
    auth.give_visitor_cookie(request, response)
    return response


@method_decorator(not_kept, name="dispatch")
class SignIn(LoginView):
    """The sign-in page; afterwards back to `?next=`, a path of this site."""

    template_name = "agent/sign_in.html"
    redirect_authenticated_user = True
    extra_context = {"agent_name": lambda: conf().agent_name}


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
