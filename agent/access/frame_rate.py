"""Frames per second of each caller: counted in this process, added up over processes. Pure.

One number per caller and second, because every frame passes here: a hit of the `limits` library's
memory takes 16 to 440 µs, one here less than 1 µs (`bench/limits.py`). Only callers that are busy
in a process are told to the others, once a second, and only sums above what a caller that keeps to
the limit can reach are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

#: How often counts are shared, and over how many seconds they are added up.
SHARE_SECONDS = 1
WINDOW_SECONDS = 5


@dataclass(slots=True)
class _Count:
    ends_at: float = 0.0  # of the present second
    frames: int = 0  # in it
    unshared: int = 0
    refused_until: float = 0.0  # other processes saw too many


class Frames:
    """The frames of this process.

    Args:
        per_second: of one caller, over all processes.
        processes: in how many a caller can be at once, having one connection in each.
    """

    def __init__(self, per_second: int, processes: int) -> None:
        self._per_second = per_second
        # what stays untold in all processes together is at most the limit itself
        self._worth_telling = per_second / processes
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
        """Callers and how many frames they sent since the last time; forgets the quiet ones."""
        told = []
        for caller, count in list(self._counts.items()):
            if count.unshared > self._worth_telling:
                told.append((caller, count.unshared))
            count.unshared = 0
            if now >= max(count.ends_at, count.refused_until):
                del self._counts[caller]
        return told

    def note_total(self, caller: str, total: int, now: float) -> None:
        """All processes together took `total` frames of a caller in the present window."""
        if total > self._most_in_window:
            count = self._counts.setdefault(caller, _Count())
            count.refused_until = now + 2 * SHARE_SECONDS
