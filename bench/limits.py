"""What counting costs: a frame here, a hit of the library in memory, and one in Redis.

python -m bench.limits [redis://127.0.0.1:6379/0]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from agent.access.frame_rate import Frames

_HITS = 3000


async def measure(name: str, hit: Callable[[str], Awaitable[object]], callers: int) -> None:
    """Print wall and CPU time of a hit, of so many callers in turn."""
    for number in range(callers):
        await hit(str(number))
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(_HITS):
        await hit(str(number % callers))
        await asyncio.sleep(0)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"{name:38} {callers:5} callers  {wall / _HITS * 1e6:7.1f} µs, CPU {cpu / _HITS * 1e6:7.1f}"
    )


async def nothing(caller: str) -> None:
    """What the measuring itself costs."""


async def main() -> None:
    item = RateLimitItemPerMinute(10**6)
    for callers in (1, 100, 3000):
        await measure("nothing", nothing, callers)
        frames = Frames(10**6, 10)

        async def frame(caller: str, frames: Frames = frames) -> None:
            frames.hit(caller, time.monotonic())

        await measure("rates.Frames", frame, callers)
        fixed = FixedWindowRateLimiter(MemoryStorage())
        await measure("limits, memory, fixed window", partial(fixed.hit, item), callers)
        moving = MovingWindowRateLimiter(MemoryStorage())
        await measure("limits, memory, moving window", partial(moving.hit, item), callers)
        for url in sys.argv[1:]:
            storage = RedisStorage(f"async+{url}", implementation="redispy")
            shared = MovingWindowRateLimiter(storage)
            await measure("limits, Redis, moving window", partial(shared.hit, item), callers)
            await storage.reset()


if __name__ == "__main__":
    asyncio.run(main())
