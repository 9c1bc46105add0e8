"""Serves the site below a path of its host, whether or not the proxy in front removes the path."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


def below(application: Any, base_path: str) -> Any:
    """Wrap an ASGI application, so that all of its requests have the paths that browsers see.

    Django gets the whole path, and removes FORCE_SCRIPT_NAME from it; WebSockets are routed by the
    rest of the path. Requests without the base path, of probes and proxies, work as well.

    Args:
        application: for HTTP and WebSockets.
        base_path: without a slash at its end; empty for a site at the root.
    """
    if not base_path:
        return application

    async def run(scope: Any, receive: Any, send: Any) -> None:
        if "path" in scope:
            scope = _with_path(scope, base_path)
        await application(scope, receive, send)

    return run


def _with_path(scope: Any, base_path: str) -> Any:
    path = scope["path"]
    rest = path.removeprefix(base_path) if f"{path}/".startswith(f"{base_path}/") else path
    whole = rest if scope["type"] == "websocket" else base_path + rest
    return {**scope, "path": whole, "raw_path": quote(whole).encode(), "root_path": ""}
