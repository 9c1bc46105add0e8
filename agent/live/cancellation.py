"""How a turn that runs in this process is told to stop. In memory only, one event loop."""

from __future__ import annotations

import asyncio
from uuid import UUID

#: Why a turn stops without an end: another process goes on with it, or its session is gone.
LOST = "lost"

_stops: dict[UUID, asyncio.Future[str]] = {}


def stoppable(turn_id: UUID) -> asyncio.Future[str]:
    """A future that gets the reason when the turn, which runs here, is to stop.

    Each attempt has its own: a later one of the same process must not end with an earlier one.
    """
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def forget(_: asyncio.Future[str]) -> None:
        if _stops.get(turn_id) is future:
            del _stops[turn_id]

    _stops[turn_id] = future
    future.add_done_callback(forget)
    return future


def stop_here(turn_id: UUID, reason: str) -> None:
    """Stop a turn now, if it runs in this process."""
    future = _stops.get(turn_id)
    if future and not future.done():
        future.set_result(reason)
