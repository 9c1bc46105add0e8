"""Tracks one client's position in the durable frames of its session. Pure."""

from __future__ import annotations

from collections import deque

from agent.live.hub import Frame


class LogCursor:
    """The position of one client: which durable frame is next, and whether it is a replay or news.

    `seq` is the newest durable frame that the client was sent.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._replay_until = 0
        self._known_until = 0  # frames up to this seq are no news, even after a replay
        self._page: deque[Frame] = deque()  # frames that were read from the rows, to be sent next

    def connect(self, newest: int) -> None:
        """Begin at the frame `newest`: that frame and older ones are no news to the client."""
        self._known_until = newest

    def replay(self, start: int, until: int) -> None:
        """Go back to `start`: the frames after it, up to `until`, are a replay."""
        self.seq, self._replay_until = start, until
        self._page.clear()

    def next_of_page(self) -> Frame | None:
        """Return the next frame, if it was read from the rows already."""
        while self._page and self._page[0]["seq"] <= self.seq:
            self._page.popleft()
        if self._page and self._page[0]["seq"] == self.seq + 1:
            return self._page.popleft()
        return None

    def fill(self, page: list[Frame]) -> None:
        """Add frames after `seq` that were read from the rows."""
        self._page.extend(page)

    def is_replay(self, seq: int) -> bool:
        """Whether the frame `seq` belongs to the replay."""
        return seq <= self._replay_until

    def advance(self, seq: int) -> bool:
        """Record that the frame `seq` was sent; returns whether it was news."""
        self.seq = seq
        is_news = seq > self._known_until
        self._known_until = max(self._known_until, seq)
        return is_news


def replay_start(newest: int, last_seq: int, tail: int | None) -> int:
    """Return the seq after which a replay starts; a number out of range means a replay of all.

    Args:
        newest: the newest seq of the session.
        last_seq: the newest seq that the client has.
        tail: instead of `last_seq`, how many of the newest frames the client asks for.
    """
    if tail is not None:
        return max(newest - tail, 0) if tail >= 0 else 0
    return last_seq if 0 <= last_seq <= newest else 0
