"""The ASGI application: HTTP to Django, WebSockets to the agent, lifespan to its runtime."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
_http = get_asgi_application()  # before anything imports a model

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from agent.access.origin import OriginGuard, with_one_cookie_header  # noqa: E402
from agent.routing import websocket_urlpatterns  # noqa: E402
from agent.serving.request_bounds import RequestBounds  # noqa: E402
from agent.worker import runtime  # noqa: E402

from .below import below  # noqa: E402
from .proxies import behind_proxies  # noqa: E402

_router = ProtocolTypeRouter(
    {
        "http": RequestBounds(_http, settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
        "websocket": OriginGuard(URLRouter(websocket_urlpatterns)),
        "lifespan": runtime.lifespan,
    }
)
_site = behind_proxies(below(_router, settings.BASE_PATH), settings.TRUSTED_PROXIES)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The entry for every server; the first call starts the runtime, even without a lifespan."""
    runtime.current().start()
    await _site(with_one_cookie_header(scope), receive, send)
