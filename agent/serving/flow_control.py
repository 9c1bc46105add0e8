"""Paces the parsing of the bytes that a client sends. No I/O.

uvicorn does not bound the work that one connection can cause in one go: 256 KiB of tiny frames take
half a second to parse, during which no other client is served, and pings, fragments and unfinished
requests cost the client nothing. A `ReadPacer` passes on one slice at a time, and none while the
application has unread messages. It counts the frames that the application never sees, and drops a
connection that sends too many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Parsed in one go; contains some 700 of the smallest frames, 10 to 30 ms of work.
SLICE_BYTES = 4 * 1024
#: A client may send this much after our close frame, because it was in flight already.
_BYTES_AFTER_CLOSE = 2**20
_MESSAGES_AFTER_CLOSE = 1000
#: The most pings and pongs of a client in a second, and fragments of one message.
_CONTROL_FRAMES_PER_SECOND = 100
_FRAGMENTS = 1024

#: A request has to arrive within this time, from its start or from the connection's.
REQUEST_SECONDS = 20
HEAD_BYTES = 64 * 1024
#: More than Django accepts, so that an honest client with a large body gets Django's answer.
BODY_BYTES = 4 * 2**20


class Connection(Protocol):
    """The part of a server's WebSocket connection that a pacer uses."""

    def feed(self, piece: bytes) -> None:
        """Parse these bytes."""

    def is_busy(self) -> bool:
        """Whether the application has unread messages."""

    def pause(self) -> None:
        """Stop reading from the socket; may be repeated."""

    def resume(self) -> None:
        """Read from the socket again; may be repeated."""

    def drop(self) -> None:
        """End the connection at once."""


class ReadPacer:
    """Buffers the bytes that a client sent and the server did not parse yet.

    Args:
        connection: the client's connection.
        call_soon: runs a function in the event loop's next iteration.
        clock: returns seconds.
    """

    def __init__(
        self,
        connection: Connection,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._call_soon = call_soon
        self._clock = clock
        self._waiting = bytearray()
        self._scheduled = False
        self._left_after_close: int | None = None
        self._late_messages = 0
        self._control_frames = 0
        self._second_ends_at = 0.0

    def take(self, data: bytes) -> None:
        """Accept bytes from the client, and parse them when it is their turn."""
        if self._left_after_close is not None:
            self._left_after_close -= len(data)
            if self._left_after_close < 0:
                self._connection.drop()
                return
        self._waiting += data
        if len(self._waiting) == len(data) and not self._connection.is_busy():
            self._step()
        else:
            self.go_on()

    def go_on(self) -> None:
        """Parse or read on, after the application read a message or new bytes arrived."""
        if self._connection.is_busy():
            self._connection.pause()
        elif self._waiting:
            self._connection.pause()
            if not self._scheduled:
                self._scheduled = True
                self._call_soon(self._step)
        else:
            self._connection.resume()

    def closing(self) -> None:
        """Bound the bytes that may still come, since our close frame was sent."""
        if self._left_after_close is None:
            self._left_after_close = _BYTES_AFTER_CLOSE

    def _step(self) -> None:
        self._scheduled = False
        piece = bytes(self._waiting[:SLICE_BYTES])
        del self._waiting[:SLICE_BYTES]
        if piece:
            self._connection.feed(piece)
        self.go_on()

    # frames that the application never sees

    def late_message(self) -> None:
        """Count a message that came after our close frame."""
        self._late_messages += 1
        if self._late_messages > _MESSAGES_AFTER_CLOSE:
            self._connection.drop()

    def control_frame(self) -> None:
        """Count a ping or pong."""
        now = self._clock()
        if now >= self._second_ends_at:
            self._second_ends_at, self._control_frames = now + 1, 0
        self._control_frames += 1
        if self._control_frames > _CONTROL_FRAMES_PER_SECOND:
            self._connection.drop()

    def fragment(self, number: int) -> None:
        """Check the number of a fragment within its message."""
        if number > _FRAGMENTS:
            self._connection.drop()
