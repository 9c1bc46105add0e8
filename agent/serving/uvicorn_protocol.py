"""uvicorn's protocols with our bounds, for `launcher`. Uses private attributes of uvicorn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

from agent.worker import runtime

from .flow_control import BODY_BYTES, HEAD_BYTES, REQUEST_SECONDS, ReadPacer

# A handshake is parsed twice, first as HTTP with our bound. The second parser gets the same bound:
# cookies that are accepted with a page are accepted with its WebSocket.
http11.MAX_LINE_LENGTH = http11.MAX_NUM_HEADERS = HEAD_BYTES


class Http(HttpToolsProtocol):
    """A connection whose requests have to arrive in time and within bounds."""

    _deadline: asyncio.TimerHandle | None = None
    _arrived = 0
    _in_body = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unanswered: deque[RequestResponseCycle] = deque()  # running and pipelined requests

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        descriptor = transport.get_extra_info("socket").fileno()
        self._addresses = runtime.current().addresses
        self._addresses.arrive(_host(transport), descriptor, transport, self.drop)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._disconnect()
        self._addresses.leave(_host(self.transport), self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline:
            self._arrived += len(data)
        super().data_received(data)
        most = HEAD_BYTES + BODY_BYTES if self._in_body else HEAD_BYTES
        if self._deadline and self._arrived > most:
            self.drop()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._expect()

    def on_headers_complete(self) -> None:
        self._in_body = True
        super().on_headers_complete()
        while self._unanswered and self._unanswered[0].response_complete:
            self._unanswered.popleft()
        if self.cycle:  # not with a handshake
            self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        self._expect_nothing()
        super().on_message_complete()

    def _expect(self) -> None:
        """Start the deadline by which a request has to arrive."""
        self._arrived, self._in_body = 0, False
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.drop)

    def _expect_nothing(self) -> None:
        """Cancel the deadline."""
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None

    def drop(self) -> None:
        """Abort the connection, and end the work on its requests."""
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Mark every request as disconnected: uvicorn marks the newest one alone.

        The other requests would write to the closed connection, and fail.
        """
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()


class WebSocket(WebSocketsSansIOProtocol):
    """A connection that is read no faster than the application handles its messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pacer = ReadPacer(self, self.loop.call_soon, self.loop.time)
        self._handshake_deadline = self.loop.call_later(REQUEST_SECONDS, self._drop_unopened)

    def _drop_unopened(self) -> None:
        if not self.handshake_complete:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handshake_deadline.cancel()
        runtime.current().addresses.leave(_host(self.transport), self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
        elif not self.transport.is_closing():
            self._pacer.take(data)

    async def receive(self) -> Any:
        message = await self.queue.get()
        self._pacer.go_on()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent:
            self._pacer.closing()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self.conn.send_close(1007)  # uvicorn does the same, with a traceback in the log
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()
        if self.close_sent:
            self._pacer.late_message()

    def handle_ping(self) -> None:
        super().handle_ping()
        self._pacer.control_frame()

    def handle_pong(self, event: Any) -> None:
        super().handle_pong(event)
        self._pacer.control_frame()

    def handle_cont(self, event: Any) -> None:
        super().handle_cont(event)
        self._pacer.fragment(len(self.frames))

    # the `Connection` of its pacer

    def feed(self, piece: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(piece)

    def is_busy(self) -> bool:
        return not self.queue.empty() and not self.close_sent

    def pause(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def drop(self) -> None:
        self.transport.abort()


def _host(transport: Any) -> str:
    """Return the peer's address as TCP knows it; empty for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _is_utf8(pieces: list[bytes]) -> bool:
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError:
        return False
    return True
