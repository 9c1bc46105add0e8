"""Where one client stands in its session's log: the next durable frame, replay or news. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

Frame = dict[str, Any]


class LogCursor:
    """The position of one client in the durable frames of its session.

    `seq` is the newest durable frame that the client was sent.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._replay_until = 0
        self._heard = 0  # the newest frame that was news to the client
        self._page: deque[Frame] = deque()  # read from the rows, to be sent next

    def connect(self, newest: int) -> None:
        """The client connected at the frame `newest`: older frames are no news to it."""
        self._heard = newest

    def replay(self, start: int, until: int) -> None:
        """Send the frames after `start` once more; up to `until` they are a replay."""
        self.seq, self._replay_until = start, until
        self._page.clear()

    def next_of_page(self) -> Frame | None:
        """The next frame, if it was read from the rows already."""
        while self._page and self._page[0]["seq"] <= self.seq:
            self._page.popleft()
        if self._page and self._page[0]["seq"] == self.seq + 1:
            return self._page.popleft()
        return None

    def fill(self, page: list[Frame]) -> None:
        """Take the frames after `seq` that were read from the rows."""
        self._page.extend(page)

    def is_replay(self, seq: int) -> bool:
        """Whether the frame `seq` belongs to the replay."""
        return seq <= self._replay_until

    def advance(self, seq: int) -> bool:
        """Note that the frame `seq` was sent; whether it was news."""
        self.seq = seq
        is_news = seq > self._heard
        self._heard = max(self._heard, seq)
        return is_news


def replay_start(newest: int, last_seq: int, tail: int | None) -> int:
    """The seq that a replay follows; a number out of range means everything.

    Args:
        newest: of the session.
        last_seq: the newest one that the client has.
        tail: instead, how many of the newest it wants.
    """
    if tail is not None:
        return max(newest - tail, 0) if tail >= 0 else 0
    return last_seq if 0 <= last_seq <= newest else 0
