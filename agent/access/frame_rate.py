"""Counts frames per second of each caller, in this process and over all processes. Pure.

Every frame is counted, so a count is one number per caller and second: a hit in the `limits`
library's memory takes 16 to 440 µs, a hit here less than 1 µs (`bench/limits.py`). Only the counts
of callers that are busy in a process are shared, once a second. A caller is refused only when the
total is more than a caller within the limit can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds between two sharings, and seconds over which the shared counts are added up.
SHARE_SECONDS = 1
WINDOW_SECONDS = 5


@dataclass(slots=True)
class _Count:
    ends_at: float = 0.0  # when the current second ends
    frames: int = 0  # in the current second
    unshared: int = 0  # since the last sharing
    refused_until: float = 0.0  # all processes together counted too many


class Frames:
    """The counts of frames in this process.

    Args:
        per_second: the limit of one caller, over all processes.
        processes: to how many processes a caller can connect at once, once to each.
    """

    def __init__(self, per_second: int, processes: int) -> None:
        self._per_second = per_second
        # the counts that all processes together leave unshared are at most the limit itself
        self._worth_sharing = per_second / processes
        # a window may hold the counts of one more sharing than it has seconds, and of a late one
        self._most_in_window = per_second * (WINDOW_SECONDS + 2 * SHARE_SECONDS)
        self._counts: dict[str, _Count] = {}

    def hit(self, caller: str, now: float) -> float:
        """Count a frame at `now` (seconds); returns 0, or the seconds to wait if it is refused."""
        count = self._counts.get(caller)
        if count is None:
            count = self._counts[caller] = _Count()
        if now >= count.ends_at:
            count.ends_at, count.frames = now + 1, 0
        if now < count.refused_until:
            return count.refused_until - now
        if count.frames >= self._per_second:
            return count.ends_at - now
        count.frames += 1
        count.unshared += 1
        return 0.0

    def to_share(self, now: float) -> list[tuple[str, int]]:
        """Return busy callers and their frames since the last call; forgets quiet callers."""
        busy = []
        for caller, count in list(self._counts.items()):
            if count.unshared > self._worth_sharing:
                busy.append((caller, count.unshared))
            count.unshared = 0
            if now >= max(count.ends_at, count.refused_until):
                del self._counts[caller]
        return busy

    def note_total(self, caller: str, total: int, now: float) -> None:
        """Apply the number of frames that all processes counted for a caller in this window."""
        if total > self._most_in_window:
            count = self._counts.setdefault(caller, _Count())
            count.refused_until = now + 2 * SHARE_SECONDS
