"""Ephemeral frames that wait for their connection: bounded, in order. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

#: Of waiting frames: enough for a full page of history and for a burst of statuses.
MAX_BYTES = 4 * 2**20
MAX_FRAMES = 2000


class Overflow(Exception):
    """The client does not read what it is sent."""


class Outbox:
    """Frames to send, each not before the durable frame with the number that it waits for."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, dict[str, Any]]] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def put(self, seq: int, frame: dict[str, Any], size: int) -> None:
        """Add a frame of about `size` bytes that makes sense after the message `seq`.

        Raises:
            Overflow: too much waits; the connection is to be closed.
        """
        self._bytes += size
        if self._bytes > MAX_BYTES or len(self._frames) >= MAX_FRAMES:
            raise Overflow
        self._frames.append((seq, frame))
        self._sizes.append(size)

    @property
    def waits_for(self) -> int:
        """The number that the oldest frame waits for; 0 when there is none."""
        return self._frames[0][0] if self._frames else 0

    def pop(self, seq: int) -> tuple[int, dict[str, Any]] | None:
        """The oldest frame and what it waits for, if the client has the messages up to that."""
        if not self._frames or self._frames[0][0] > seq:
            return None
        self._bytes -= self._sizes.popleft()
        return self._frames.popleft()
