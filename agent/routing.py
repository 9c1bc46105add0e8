"""The paths of WebSockets: ours, and the original's, each with and without a slash."""

from django.urls import re_path

from .access.origin import deny
from .consumers import AgentConsumer

SOCKET_PATHS = r"^(?:ws/agent|functions/v1/agent_websocket)/?$"

websocket_urlpatterns = [
    re_path(SOCKET_PATHS, AgentConsumer.as_asgi()),
    re_path(r"", deny),
]
