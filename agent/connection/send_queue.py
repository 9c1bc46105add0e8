"""A bounded queue of ephemeral frames that wait for their connection. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

#: The most that may wait: enough for a full page of history and for a burst of statuses.
MAX_BYTES = 4 * 2**20
MAX_FRAMES = 2000


class Overflow(Exception):
    """The client does not read its frames."""


class SendQueue:
    """Frames to send, each not before the durable frame that it waits for."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, dict[str, Any]]] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def put(self, seq: int, frame: dict[str, Any], size: int) -> None:
        """Add a frame of about `size` bytes that may be sent after the message `seq`.

        Raises:
            Overflow: too many frames or bytes wait; the caller closes the connection.
        """
        self._bytes += size
        if self._bytes > MAX_BYTES or len(self._frames) >= MAX_FRAMES:
            raise Overflow
        self._frames.append((seq, frame))
        self._sizes.append(size)

    @property
    def waits_for(self) -> int:
        """The seq that the oldest frame waits for; 0 when the queue is empty."""
        return self._frames[0][0] if self._frames else 0

    def pop(self, seq: int) -> tuple[int, dict[str, Any]] | None:
        """Return the oldest frame and the seq that it waits for, if the client has that message."""
        if not self._frames or self._frames[0][0] > seq:
            return None
        self._bytes -= self._sizes.popleft()
        return self._frames.popleft()
