"""Waiting for what happens in another process, in its own time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

#: Generous: what does not come is a failure, what comes late is a busy machine.
SECONDS = 45.0


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str, seconds: float = SECONDS
) -> None:
    """Wait until a condition holds; fail with the words of `what` when it does not.

    A function that is no coroutine runs in a thread, so it may block.
    """
    until = time.monotonic() + seconds
    while not await _value(condition):
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come")
        await asyncio.sleep(0.05)


async def _value(condition: Callable[[], object | Awaitable[object]]) -> object:
    value = await asyncio.to_thread(condition)
    return await value if inspect.isawaitable(value) else value
