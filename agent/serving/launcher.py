"""The launcher: uvicorn with our listener, our limits and our drain."""

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
#: Unacknowledged data, or silence in spite of probes, after which TCP gives a peer up.
_DEAD_PEER_SECONDS = 30
_PING_SECONDS = 20
#: How long a process may take to end after its drain; the servers' own end takes up to 6 s of it.
_END_SECONDS = 8.0
#: How long requests may take then that are under way.
_LAST_SECONDS = 5

_OPEN = (
    "WARNING: DEBUG is on, and others than this machine can connect: they need no account, and\n"
    "  errors show them this server's inside. Set DEBUG=0, or HOST=127.0.0.1."
)


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        host: address or name to listen on.
        port: port to listen on; 0 takes a free one. The banner shows which.
    """
    listener = _listener(host, port)
    config = uvicorn.Config(
        _application(),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application reads them, under every server
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
    """The site's ASGI application, as uvicorn names it: `module:attribute`."""
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
        print(f"  {_OPEN}", flush=True)
        log.warning("DEBUG is on and others can connect", host=host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _command() -> str:
    """How this manage.py is called, as it can be pasted into a shell here."""
    python = os.path.relpath(sys.executable)
    debug = "DEBUG=1 " if django_setting("DEBUG") else ""
    return f"{debug}{python if not python.startswith('..') else sys.executable} manage.py"


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain while the sockets still take frames; uvicorn's own end comes after it.

        What is left then, a request that never came whole or an answer that nobody reads, is cut
        like a connection that breaks off. uvicorn would cancel it, with a traceback for each.
        """
        for listener in self.servers:
            listener.close()
        draining = asyncio.create_task(runtime.current().drain(conf().drain_seconds))
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        if draining.done() and (error := draining.exception()):
            log.error("drain failed", error=type(error).__name__)
        _end_in_any_case()
        ending = asyncio.create_task(super().shutdown(sockets))
        await asyncio.wait({ending}, timeout=_LAST_SECONDS)
        connections: list[Any] = list(self.server_state.connections)  # all of them ours
        for connection in connections:
            connection.drop()
        await ending


def _end_in_any_case() -> None:
    """Let the process end soon, even when threads hang in a database that does not answer.

    Python waits for its threads, without a bound, and nothing can stop one of them.
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
    """Let TCP drop peers that are gone or do not read; accepted sockets inherit it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        tcp = socket.IPPROTO_TCP
        listener.setsockopt(tcp, socket.TCP_USER_TIMEOUT, _DEAD_PEER_SECONDS * 1000)
        listener.setsockopt(tcp, socket.TCP_KEEPIDLE, _PING_SECONDS)
        listener.setsockopt(tcp, socket.TCP_KEEPINTVL, 5)


def _largest_message() -> int:
    """Above MAX_FRAME_BYTES, so that the application can answer `too_large`."""
    return max(4 * conf().max_frame_bytes, 2**20)


def default_address() -> tuple[str, int]:
    """HOST and PORT."""
    return django_setting("HOST"), django_setting("PORT")
