"""Counts rates in this process first, and then in Redis while it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .frame_rate import WINDOW_SECONDS
from .limit_table import HOUR, Limit

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: The longest wait for Redis, and for how long it is not asked after a failure.
SHARED_SECONDS = 0.25
_PAUSE_SECONDS = 5.0
_REDIS_CONNECTIONS = 8
_MOST = 2**31 - 1


class Shared:
    """The counts in Redis, with bounded waits; without a URL there are none."""

    def __init__(self, url: str) -> None:
        self._left_alone_until = 0.0
        self.redis: Redis | None = None
        self.storage: RedisStorage | None = None
        if url:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_REDIS_CONNECTIONS,
                timeout=SHARED_SECONDS,
                socket_connect_timeout=1,
                socket_timeout=5,
                retry=Retry(NoBackoff(), 0),
            )
            self.redis = Redis(connection_pool=pool)
            self.storage = RedisStorage(
                f"async+{url.replace('unix://', 'redis+unix://', 1)}",
                implementation="redispy",
                key_prefix="agent.limits",
                connection_pool=pool,  # type: ignore[arg-type]
            )

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Return Redis's answer, or None when it does not answer in time."""
        if not self.redis or time.monotonic() < self._left_alone_until:
            return None
        try:
            async with asyncio.timeout(SHARED_SECONDS):
                return await question()
        except Exception as error:  # from Redis's client, even uvloop's RuntimeError
            log.warning("limits are counted per process", error=type(error).__name__)
            self._left_alone_until = time.monotonic() + _PAUSE_SECONDS
            return None

    async def add(self, caller: str, number: int) -> int:
        """Count a caller's frames; returns the total of all processes in the current window."""
        if self.storage is None:
            return 0
        return await self.storage.incr(f"frames:{caller}", WINDOW_SECONDS, number)


class Rate:
    """Hits of a limit in any minute, or in an hour of the clock, here and over all processes.

    A minute is a moving window, which remembers each hit. An hour is a fixed window, because its
    hits would be too many to remember.
    """

    def __init__(self, limit: Limit, shared: Shared) -> None:
        by_hour = limit.seconds == HOUR
        most = min(limit.most, _MOST)
        self._item: RateLimitItem = (
            RateLimitItemPerHour(most) if by_hour else RateLimitItemPerMinute(most)
        )
        self._name = f"{limit.what}:{limit.who}".replace(" ", "-")
        strategy = FixedWindowRateLimiter if by_hour else MovingWindowRateLimiter
        self._here: RateLimiter = strategy(MemoryStorage())
        self._shared = shared
        self._everywhere = strategy(shared.storage) if shared.storage and limit.shared else None

    async def hit(self, key: str) -> float:
        """Count a hit; returns 0, or the seconds to wait when it was refused and not counted."""
        if not await self._here.test(self._item, self._name, key):
            return await self._wait(self._here, key)
        if everywhere := self._everywhere:
            wait = await self._shared.ask(lambda: self._hit(everywhere, key))
            if wait:
                return wait
        return await self._hit(self._here, key)

    async def full(self, key: str) -> float:
        """Return the seconds until a hit would be accepted, 0 for now, without counting one."""
        if not await self._here.test(self._item, self._name, key):
            return await self._wait(self._here, key)
        if everywhere := self._everywhere:
            return await self._shared.ask(lambda: self._full(everywhere, key)) or 0.0
        return 0.0

    async def forget(self, key: str) -> None:
        """Set the count of a key back to 0."""
        await self._here.clear(self._item, self._name, key)
        if everywhere := self._everywhere:
            await self._shared.ask(lambda: everywhere.clear(self._item, self._name, key))

    async def _hit(self, rates: RateLimiter, key: str) -> float:
        if await rates.hit(self._item, self._name, key):
            return 0.0
        return await self._wait(rates, key)

    async def _full(self, rates: RateLimiter, key: str) -> float:
        if await rates.test(self._item, self._name, key):
            return 0.0
        return await self._wait(rates, key)

    async def _wait(self, rates: RateLimiter, key: str) -> float:
        stats = await rates.get_window_stats(self._item, self._name, key)
        return max(stats.reset_time - time.time(), 0.1)
