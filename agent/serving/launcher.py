"""Starts uvicorn with our listener, our limits and our drain."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from ipaddress import ip_address
from typing import Any

import structlog
import uvicorn
from django.urls import get_script_prefix

from agent.conf import conf, django_setting
from agent.worker import runtime

from . import uvicorn_protocol

log = structlog.get_logger(__name__)

_BACKLOG = 4096
#: TCP drops a peer after this time of unacknowledged data, or of silence in spite of probes.
_DEAD_PEER_SECONDS = 30
_PING_SECONDS = 20
#: How long a process may take to end after its drain; uvicorn's shutdown takes up to 6 s of it.
_END_SECONDS = 8.0
#: How long requests that are under way may still take after the drain.
_LAST_SECONDS = 5

_REACHABLE_IN_DEBUG = (
    "WARNING: DEBUG is on, and others than this machine can connect: they need no account, and\n"
    "  errors show them this server's inside. Set DEBUG=0, or HOST=127.0.0.1."
)


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        host: address or name to listen on.
        port: port to listen on; 0 takes a free one, which the banner shows.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        _application(),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application reads them itself, under every server
        http=uvicorn_protocol.Http,
        ws=uvicorn_protocol.WebSocket,
        ws_max_size=_largest_message(),
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_LAST_SECONDS + 1,
    )
    _banner(host, listener.getsockname()[1])
    try:
        _Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        sys.exit(130)


def _application() -> str:
    """Return the name of the site's ASGI application for uvicorn: `module:attribute`."""
    return ":".join(django_setting("ASGI_APPLICATION").rsplit(".", 1))


def _banner(host: str, port: int) -> None:
    settings = conf()
    shown = f"[{host}]" if ":" in host else host
    mode = "offline demo model (set OPENROUTER_API_KEY for a real one)"
    print(f"Agent WebSocket on http://{shown}:{port}{get_script_prefix()}", flush=True)
    print(f"  model:  {mode if settings.demo else settings.model}", flush=True)
    print(
        f"  staff:  {_command()} createsuperuser, then open {get_script_prefix()}admin/", flush=True
    )
    if django_setting("DEBUG") and not _is_loopback(host):
        print(f"  {_REACHABLE_IN_DEBUG}", flush=True)
        log.warning("DEBUG is on and others can connect", host=host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _command() -> str:
    """Return the command that runs this manage.py, ready to paste into a shell."""
    python = os.path.relpath(sys.executable)
    debug = "DEBUG=1 " if django_setting("DEBUG") else ""
    return f"{debug}{python if not python.startswith('..') else sys.executable} manage.py"


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain while the sockets still accept frames, and then let uvicorn shut down.

        Connections that are left then, with a request that never arrived completely or an answer
        that the client does not read, are aborted. uvicorn would cancel them with a traceback each.
        """
        for listener in self.servers:
            listener.close()
        draining = asyncio.create_task(runtime.current().drain(conf().drain_seconds))
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        if draining.done() and (error := draining.exception()):
            log.error("drain failed", error=type(error).__name__)
        _exit_after_deadline()
        shutdown = asyncio.create_task(super().shutdown(sockets))
        await asyncio.wait({shutdown}, timeout=_LAST_SECONDS)
        connections: list[Any] = list(self.server_state.connections)  # of our own classes
        for connection in connections:
            connection.drop()
        await shutdown


def _exit_after_deadline() -> None:
    """End the process after `_END_SECONDS`, even when threads hang in a database call.

    Python waits for its threads without a bound, and no code can stop a thread.
    """

    def end() -> None:
        log.warning("ended without waiting for threads", seconds=_END_SECONDS)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)

    timer = threading.Timer(_END_SECONDS, end)
    timer.daemon = True
    timer.start()


def _listener(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        sys.exit(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another PORT.")
    _find_dead_peers(listener)
    listener.listen(_BACKLOG)
    return listener


def _find_dead_peers(listener: socket.socket) -> None:
    """Let TCP drop peers that are dead or do not read; accepted sockets inherit the options."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        tcp = socket.IPPROTO_TCP
        listener.setsockopt(tcp, socket.TCP_USER_TIMEOUT, _DEAD_PEER_SECONDS * 1000)
        listener.setsockopt(tcp, socket.TCP_KEEPIDLE, _PING_SECONDS)
        listener.setsockopt(tcp, socket.TCP_KEEPINTVL, 5)


def _largest_message() -> int:
    """Return a bound above MAX_FRAME_BYTES, so that the application can answer `too_large`."""
    return max(4 * conf().max_frame_bytes, 2**20)


def default_address() -> tuple[str, int]:
    """Return the settings HOST and PORT."""
    return django_setting("HOST"), django_setting("PORT")
