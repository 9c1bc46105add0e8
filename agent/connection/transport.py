"""Reaches a connection's transport behind an ASGI `send`: how much is unsent, and how to drop it.

Only this module does so. It reads private attributes of uvicorn and of daphne.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
import time
from typing import Any

#: With more unsent bytes than this for a WebSocket client, no frame is added.
_UNSENT_BYTES = 256 * 1024
#: The same for an HTTP response; below the mark at which uvicorn itself waits, without a bound.
_HTTP_UNSENT_BYTES = 16 * 1024
#: A client that takes less than this of a response in this time is dead, or reads too slowly.
_PACE_SECONDS, _PACE_BYTES = 20.0, 20 * 1024


class TooSlow(Exception):
    """A client reads a response too slowly; its connection is dropped."""


async def taken(send: Any) -> None:
    """Wait until a client has taken nearly all of the HTTP response that was sent so far.

    Raises:
        TooSlow: in `_PACE_SECONDS` the client took less than `_PACE_BYTES`; it is disconnected.
    """
    left, since, pause = _untaken(send), time.monotonic(), 0.005
    while _buffered(send) > _HTTP_UNSENT_BYTES:  # the kernel's buffer costs us nothing
        if time.monotonic() - since > _PACE_SECONDS:
            now = _untaken(send)
            if left - now < _PACE_BYTES:
                abort(send)
                raise TooSlow
            left, since = now, time.monotonic()
        await asyncio.sleep(pause)  # neither server has an event for it
        pause = min(2 * pause, 0.1)


def _buffered(send: Any) -> int:
    """Return the bytes that wait in this process."""
    if transport := _daphne_transport(send):
        return _unsent(transport)
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return 0 if transport is None or transport.is_closing() else transport.get_write_buffer_size()


def _untaken(send: Any) -> int:
    """Return the bytes that wait here or in the kernel, which takes them in large pieces."""
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
        return 0  # it is closed, or this system has no such call


async def writable(send: Any) -> None:
    """Wait until a client has read most of its frames.

    uvicorn itself waits within `send`; daphne would buffer without a bound.
    """
    transport = _daphne_transport(send)
    while transport is not None and _unsent(transport) > _UNSENT_BYTES:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # Twisted has no event for it here


def abort(send: Any) -> None:
    """Drop a connection at once; a close frame would wait behind unread frames."""
    if transport := _daphne_transport(send):
        transport.abortConnection()
    elif transport := getattr(getattr(send, "__self__", None), "transport", None):
        transport.abort()


def _daphne_transport(send: Any) -> Any:
    arguments = getattr(send, "args", ())
    return getattr(arguments[0], "transport", None) if arguments else None


def _unsent(transport: Any) -> int:
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)
