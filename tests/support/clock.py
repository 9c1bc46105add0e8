"""The time of an event loop, for tests of deadlines, which then depend on no machine's pace."""

from __future__ import annotations

import asyncio


class Clock:
    """The clock of the running loop, which a test puts forward."""

    def __init__(self) -> None:
        self._ahead = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        loop.time = lambda: real() + self._ahead  # type: ignore[method-assign]

    def put_forward(self, seconds: float) -> None:
        """Let this time pass at once: whatever is due by then happens in the next round."""
        self._ahead += seconds
