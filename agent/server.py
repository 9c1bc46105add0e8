"""The launcher: uvicorn or daphne with our listener, our limits and our drain.

Also the one place that knows how to look at a connection's transport behind an ASGI `send`, which
takes private attributes of both servers: how much is unsent, and how to drop it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import termios
import threading
import time
from ipaddress import ip_address
from typing import Any

import structlog
import uvicorn
from django.urls import get_script_prefix

from . import on_uvicorn, worker
from .conf import conf, django_setting

log = structlog.get_logger(__name__)

_BACKLOG = 4096
#: Unacknowledged data, or silence in spite of probes, after which TCP gives a peer up.
_DEAD_PEER_SECONDS = 30
_PING_SECONDS = 20
#: How long a process may take to end after its drain; the servers' own end takes up to 6 s of it.
_END_SECONDS = 8.0
#: How long requests may take then that are under way.
_LAST_SECONDS = 5
#: Bytes on their way to a client above which nothing is added.
_UNSENT_BYTES = 256 * 1024
#: The same of an HTTP response; below what makes uvicorn wait by itself, without an end.
_HTTP_UNSENT_BYTES = 16 * 1024
#: Who has not taken so much of a response in so many seconds is gone or trickles.
_PACE_SECONDS, _PACE_BYTES = 20.0, 20 * 1024

_OPEN = (
    "WARNING: DEBUG is on, and others than this machine can connect: they need no account, and\n"
    "  errors show them this server's inside. Set DEBUG=0, or HOST=127.0.0.1."
)


def serve(server: str, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        server: "uvicorn" or "daphne".
        host: address or name to listen on.
        port: to listen on; 0 takes a free one. The banner tells which.
    """
    run = {"uvicorn": _serve_uvicorn, "daphne": _serve_daphne}[server]
    try:
        run(host, port)
    except KeyboardInterrupt:
        sys.exit(130)


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


# uvicorn


class _Uvicorn(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain while the sockets still take frames; uvicorn's own end comes after it.

        What is left then, a request that never came whole or an answer that nobody reads, is cut
        like a connection that breaks off. uvicorn would cancel it, with a traceback for each.
        """
        for listener in self.servers:
            listener.close()
        draining = asyncio.create_task(worker.drain())
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
    """Let the process end soon, also when threads hang in a database that does not answer.

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


def _serve_uvicorn(host: str, port: int) -> None:
    listener = _listener(host, port)
    config = uvicorn.Config(
        "agentsite.asgi:application",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application does it, for both servers
        http=on_uvicorn.Http,
        ws=on_uvicorn.WebSocket,
        ws_max_size=_largest_message(),
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PING_SECONDS,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_LAST_SECONDS + 1,
    )
    _banner(host, listener.getsockname()[1])
    _Uvicorn(config).run(sockets=[listener])


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


# daphne


def _serve_daphne(host: str, port: int) -> None:
    # Importing daphne installs Twisted's reactor; uvicorn does without.
    from daphne.server import Server
    from twisted.internet import defer, reactor

    from agentsite.asgi import application

    from .on_daphne import Connection, Factory, WebSocket, paced

    class Daphne(Server):  # type: ignore[misc]
        ports: tuple[Any, ...] = ()

        def listen_success(self, port: Any) -> None:
            self.ports = (port,)
            port.transport, port.factory = Connection, Factory(self)
            self.ws_factory.protocol = WebSocket
            _find_dead_peers(port.socket)
            _banner(host, port.getHost().port)

        def listen_error(self, failure: Any) -> None:
            print(f"Cannot listen on {host}:{port}. Choose another PORT.", file=sys.stderr)
            super().listen_error(failure)

        def kill_all_applications(self) -> Any:
            """Drain first; Twisted waits for the result before it shuts down."""
            for port in self.ports:
                port.stopListening()
            drained = defer.Deferred.fromFuture(asyncio.ensure_future(worker.drain()))
            drained.addErrback(lambda failure: log.error("drain failed", error=str(failure.type)))
            drained.addCallback(lambda _: _end_in_any_case())
            drained.addCallback(lambda _: Server.kill_all_applications(self))
            return drained

    interface = host.replace(":", r"\:")
    reactor.callWhenRunning(worker.ensure_running)
    Daphne(
        paced(application),
        endpoints=[f"tcp:port={port}:interface={interface}:backlog={_BACKLOG}"],
        verbosity=1,
        server_name="",
        ping_interval=_PING_SECONDS,
        ping_timeout=_PING_SECONDS,
        websocket_timeout=10 * 365 * 24 * 3600,  # connections end when we say so
        websocket_max_message_size=_largest_message(),
        websocket_max_frame_size=_largest_message(),
    ).run()


# transports


class TooSlow(Exception):
    """A client takes less of a response than it has to; its connection is dropped."""


async def taken(send: Any) -> None:
    """Wait until a client has taken nearly all of what it was sent of an HTTP response.

    Raises:
        TooSlow: in `_PACE_SECONDS` it took less than `_PACE_BYTES`, and nothing of it waits longer.
    """
    left, since, pause = _untaken(send), time.monotonic(), 0.005
    while _buffered(send) > _HTTP_UNSENT_BYTES:  # the kernel's buffer costs us nothing
        if time.monotonic() - since > _PACE_SECONDS:
            now = _untaken(send)
            if left - now < _PACE_BYTES:
                abort(send)
                raise TooSlow
            left, since = now, time.monotonic()
        await asyncio.sleep(pause)  # neither server tells when it is read
        pause = min(2 * pause, 0.1)


def _buffered(send: Any) -> int:
    """Bytes that wait in this process."""
    if transport := _daphne_transport(send):
        return _unsent(transport)
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return 0 if transport is None or transport.is_closing() else transport.get_write_buffer_size()


def _untaken(send: Any) -> int:
    """Bytes that wait here or in the kernel, which takes them in large pieces."""
    return _buffered(send) + _in_kernel(_descriptor(send))


def _descriptor(send: Any) -> int:
    if transport := _daphne_transport(send):
        return int(getattr(transport, "fileno", lambda: -1)())
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    socket_ = transport.get_extra_info("socket") if transport else None
    return socket_.fileno() if socket_ else -1


def _in_kernel(descriptor: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)
    except (OSError, ValueError):
        return 0  # it is closed, or this system does not tell


async def writable(send: Any) -> None:
    """Wait until a client reads what it was sent.

    uvicorn waits by itself within `send`; daphne would buffer without bound.
    """
    transport = _daphne_transport(send)
    while transport is not None and _unsent(transport) > _UNSENT_BYTES:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # Twisted tells nobody when it is read


def abort(send: Any) -> None:
    """Drop a connection at once; a close frame would wait behind what is not read."""
    if transport := _daphne_transport(send):
        transport.abortConnection()
    elif transport := getattr(getattr(send, "__self__", None), "transport", None):
        transport.abort()


def _daphne_transport(send: Any) -> Any:
    arguments = getattr(send, "args", ())
    return getattr(arguments[0], "transport", None) if arguments else None


def _unsent(transport: Any) -> int:
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)


def default_address() -> tuple[str, int]:
    """HOST and PORT."""
    return django_setting("HOST"), django_setting("PORT")
