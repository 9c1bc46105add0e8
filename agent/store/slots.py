"""The lane of database work, and how Django's synchronous code waits for a connection of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection

from agent import metrics
from agent.errors import Overloaded

from .lanes import CHAT, CONNECTIONS, WAIT_SECONDS

current_lane: ContextVar[str] = ContextVar("lane", default=CHAT)


@contextmanager
def lane(name: str) -> Iterator[None]:
    """Let the database work of this context run in that lane."""
    token = current_lane.set(name)
    try:
        yield
    finally:
        current_lane.reset(token)


class Slot:
    """One of a lane's connections, as a request takes it, gives it back and takes it again.

    Taken on the event loop or in a thread, given back anywhere; giving back twice is harmless.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        lanes = _free.setdefault(self._loop, {})
        self._free = lanes.setdefault(name, asyncio.Semaphore(CONNECTIONS[name]))
        self._taken = False

    async def take(self) -> None:
        """Wait for one.

        Raises:
            Overloaded: none was given back in time.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            metrics.overloads.inc()
            raise Overloaded(retry_after=WAIT_SECONDS) from None
        self._taken = True

    def take_again(self) -> None:
        """`take` in a thread that is not the event loop's."""
        asyncio.run_coroutine_threadsafe(self.take(), self._loop).result()

    def give(self) -> None:
        if self._taken:
            self._taken = False
            with suppress(RuntimeError):  # the event loop is closed, so no request waits
                self._loop.call_soon_threadsafe(self._free.release)


_free: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = (
    WeakKeyDictionary()
)
_current: ContextVar[Slot | None] = ContextVar("slot", default=None)


@asynccontextmanager
async def slot() -> AsyncIterator[None]:
    """Hold a connection of this context's lane for Django's synchronous code, in its own thread.

    At the end the connection is given back, before the response is sent: a client that reads slowly
    holds none. A request that is cancelled holds its slot until its thread has ended.

    Raises:
        Overloaded: none was given back in time.
    """
    taken = Slot(current_lane.get())
    await taken.take()
    token = _current.set(taken)
    try:
        yield
    finally:
        _current.reset(token)
        try:
            await sync_to_async(_give_back)()  # after whatever runs in that thread
        finally:
            taken.give()


def _give_back() -> None:
    if not connection.in_atomic_block:  # as the tests' client may have it
        close_old_connections()


@contextmanager
def without_connection() -> Iterator[None]:
    """Hold neither connection nor slot for a while; within a transaction, which needs them, both.

    Raises:
        Overloaded: afterwards there was no slot in time.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.close()
    taken = _current.get()
    if taken is None:
        yield
        return
    taken.give()
    try:
        yield
    finally:
        taken.take_again()
