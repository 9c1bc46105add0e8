"""Cancels turns that run in this process. In memory only, one event loop."""

from __future__ import annotations

import asyncio
from uuid import UUID

#: Cancels a turn without writing its end: another process has it, or its session was deleted.
LEASE_LOST = "lost"


class Cancellations:
    """The turns that run in this process, and the futures that cancel them."""

    def __init__(self) -> None:
        self._futures: dict[UUID, asyncio.Future[str]] = {}

    def of(self, turn_id: UUID) -> asyncio.Future[str]:
        """Create the future that gets the reason when a turn of this process is cancelled.

        Each attempt has its own future: cancelling an attempt must not end a later one.
        """
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def forget(_: asyncio.Future[str]) -> None:
            if self._futures.get(turn_id) is future:
                del self._futures[turn_id]

        self._futures[turn_id] = future
        future.add_done_callback(forget)
        return future

    def cancel_local(self, turn_id: UUID, reason: str) -> None:
        """Cancel a turn now, if it runs in this process."""
        future = self._futures.get(turn_id)
        if future and not future.done():
            future.set_result(reason)
