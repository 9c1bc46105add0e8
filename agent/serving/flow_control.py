"""How much of what a client sends is looked at, and when. No I/O.

uvicorn does not bound what one connection may make it do in one go: 256 KiB of tiny frames are half
a second of parsing during which nobody else is served, and pings, fragments and unfinished requests
are free. An `Intake` hands on a slice at a time, and no more while the application has unread
messages; what no application ever sees is counted, and too much of it ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Handed on in one go; holds some 700 of the smallest frames, 10 to 30 ms of work.
SLICE_BYTES = 4 * 1024
#: What may come after our close frame: what was under way.
_BYTES_AFTER_CLOSE = 2**20
_MESSAGES_AFTER_CLOSE = 1000
#: Pings and pongs of a client in a second, and fragments of one message.
_CONTROL_FRAMES_PER_SECOND = 100
_FRAGMENTS = 1024

#: Within which a request has to be here, from its beginning or from the connection's.
REQUEST_SECONDS = 20
HEAD_BYTES = 64 * 1024
#: Above what Django takes, so that it answers those who mean well.
BODY_BYTES = 4 * 2**20


class Connection(Protocol):
    """A server's WebSocket connection, as its intake needs it."""

    def feed(self, piece: bytes) -> None:
        """Parse these bytes."""

    def is_busy(self) -> bool:
        """Whether the application has unread messages."""

    def pause(self) -> None:
        """Read no more; may be repeated."""

    def resume(self) -> None:
        """Read on; may be repeated."""

    def drop(self) -> None:
        """End the connection at once."""


class Intake:
    """What a client has sent and nobody has looked at yet.

    Args:
        connection: whose it is.
        call_soon: runs a function when the event loop comes round to it.
        clock: seconds.
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
        """Bytes came from the client."""
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
        """The application has read a message, or there is something new to read."""
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
        """Our close frame is out; the rest of what comes is of no use."""
        if self._left_after_close is None:
            self._left_after_close = _BYTES_AFTER_CLOSE

    def _step(self) -> None:
        self._scheduled = False
        piece = bytes(self._waiting[:SLICE_BYTES])
        del self._waiting[:SLICE_BYTES]
        if piece:
            self._connection.feed(piece)
        self.go_on()

    # what the application never sees

    def late_message(self) -> None:
        """A message came after our close frame."""
        self._late_messages += 1
        if self._late_messages > _MESSAGES_AFTER_CLOSE:
            self._connection.drop()

    def control_frame(self) -> None:
        """A ping or pong came."""
        now = self._clock()
        if now >= self._second_ends_at:
            self._second_ends_at, self._control_frames = now + 1, 0
        self._control_frames += 1
        if self._control_frames > _CONTROL_FRAMES_PER_SECOND:
            self._connection.drop()

    def fragment(self, number: int) -> None:
        """The fragment with this number of a message came."""
        if number > _FRAGMENTS:
            self._connection.drop()
