"""The ASGI application: HTTP to Django, WebSockets to the agent, lifespan to its worker."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
_http = get_asgi_application()  # before anything imports a model

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware  # noqa: E402

from agent.auth import OriginGuard, with_one_cookie_header  # noqa: E402
from agent.http import Bounded  # noqa: E402
from agent.routing import websocket_urlpatterns  # noqa: E402
from agent.worker import ensure_running, lifespan  # noqa: E402

_router = ProtocolTypeRouter(
    {
        "http": Bounded(_http, settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
        "websocket": OriginGuard(URLRouter(websocket_urlpatterns)),
        "lifespan": lifespan,
    }
)


def behind_proxies(application: Any, trusted: Iterable[str]) -> Any:
    """The application with the client's address and scheme as a trusted proxy says.

    Args:
        trusted: addresses and networks of proxies. Of `X-Forwarded-For` the last address counts
            that is none of them: what comes before is what somebody says of himself.
    """
    trusting: Any = ProxyHeadersMiddleware(application, trusted_hosts=list(trusted))

    async def run(scope: Any, receive: Any, send: Any) -> None:
        await trusting(_with_plain_client(scope), receive, send)

    return run


def _with_plain_client(scope: Any) -> Any:
    """A listener for IPv6 and IPv4 names 127.0.0.1 ::ffff:127.0.0.1, which nobody writes."""
    host, *port = scope.get("client") or ("",)
    mapped = host.startswith("::ffff:") and "." in host
    return {**scope, "client": (host.removeprefix("::ffff:"), *port)} if mapped else scope


_behind_proxies = behind_proxies(_router, settings.TRUSTED_PROXIES)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The entry for every server; the first call starts the worker, lifespan or not."""
    ensure_running()
    await _behind_proxies(with_one_cookie_header(scope), receive, send)
