"""How much a caller may do: connections, connects, queries and frames.

Counted here first, and over all processes where Redis is there. Redis is never waited for longer
than `SHARED_SECONDS`, and left alone for a while after a failure: then, and without Redis, this
process's own counts hold, so that a caller may do as much again in each process (open on purpose:
an outage of Redis must not be one of the service). What is refused is `RateLimited`, always with
`retry_after`, and a caller that stays below a limit is never refused.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .actor import Actor
from .conf import Conf, conf
from .errors import RateLimited
from .places import LEASE_SECONDS, RENEW_SECONDS, Place, Places
from .rates import SHARE_SECONDS, WINDOW_SECONDS, Frames

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: The longest wait for Redis, and how long it is left alone after a failure.
SHARED_SECONDS = 0.25
_LEFT_ALONE_SECONDS = 5.0
_REDIS_CONNECTIONS = 8
_IPV6_SUBSCRIBER_BITS = 64
_LONGEST_ADDRESS = 64


def address_of(scope: dict[str, Any]) -> str:
    """The client's address as it is counted: of IPv6 the /64, which one subscriber has."""
    client = scope.get("client")
    text = str(client[0])[:_LONGEST_ADDRESS] if client else ""
    try:
        address = ip_address(text)
    except ValueError:
        return text  # a Unix socket, or what a trusted proxy says
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    host_bits = 128 - _IPV6_SUBSCRIBER_BITS
    return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{_IPV6_SUBSCRIBER_BITS}"


def caller_of(actor: Actor, address: str) -> str:
    """Under which name a caller is counted.

    A program of nobody is its address, also when it comes back with the resume token of one of its
    sessions: it can have as many of those as it likes.
    """
    is_nobody = actor.is_nobody or actor.session_id is not None
    return f"address:{address}" if is_nobody else actor.key


#: How many times the queries of one visitor those of an address may ask together: a visitor is a
#: cookie, of which anybody can have as many as they like.
_CROWD = 10


class Limits:
    """The limits of this process."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._shared = _Shared(conf.redis_url)
        self._frames = Frames(conf.max_frames_per_second, conf.max_connections_per_user)
        self._connects = _Rate(RateLimitItemPerMinute(conf.max_connects_per_minute), self._shared)
        self._queries = _Rate(RateLimitItemPerMinute(conf.max_queries_per_minute), self._shared)
        crowd = min(_CROWD * conf.max_queries_per_minute, 2**31 - 1)
        self._crowds = _Rate(RateLimitItemPerMinute(crowd), self._shared)
        self._places = Places(conf.max_connections_per_user, self._shared.redis)

    async def connecting(self, address: str) -> None:
        """Count a new connection from an address.

        Raises:
            RateLimited: there were MAX_CONNECTS_PER_MINUTE already.
        """
        if wait := await self._connects.hit(f"connects:{address}"):
            raise _refused("Too many new connections from your network. Wait a moment.", wait)

    async def open(self, caller: str) -> Place:
        """Take one of the caller's MAX_CONNECTIONS_PER_USER; give it back with `close`.

        Raises:
            RateLimited: all are taken.
        """
        place = self._places.take(caller)
        if place and await self._shared.ask(lambda: self._places.share(place)) is not False:
            return place
        if place:
            self._places.forget(place)
        raise _refused("Too many connections at once. Close another one first.", LEASE_SECONDS)

    async def close(self, place: Place) -> None:
        """Give a connection's place back."""
        self._places.forget(place)
        await self._shared.ask(lambda: self._places.unshare(place))

    def frame(self, caller: str) -> None:
        """Count a frame; waits for nothing.

        Raises:
            RateLimited: there were MAX_FRAMES_PER_SECOND already.
        """
        if wait := self._frames.hit(caller, time.monotonic()):
            raise _refused("Too many messages at once. Wait a moment and try again.", wait)

    async def query(self, caller: str, crowd: str = "") -> None:
        """Count something that asks the model.

        Args:
            caller: who asks.
            crowd: of a visitor the address; together they may ask ten times as often as one.

        Raises:
            RateLimited: there were MAX_QUERIES_PER_MINUTE already.
        """
        wait = await self._queries.hit(f"queries:{caller}")
        if not wait and crowd:
            wait = await self._crowds.hit(f"visitors:{crowd}")
        if wait:
            seconds = math.ceil(wait)
            raise _refused(f"Too many questions in a minute. Try again in {seconds} s.", wait)

    async def aclose(self) -> None:
        """Let go of Redis."""
        if self._shared.redis:
            await self._shared.redis.aclose(close_connection_pool=True)

    # steps of the process, for `upkeep.forever`

    async def renew(self) -> None:
        """Keep the places of this process; those of a dead process end by themselves."""
        await asyncio.sleep(RENEW_SECONDS)
        for some in self._places.parts():
            await self._shared.ask(lambda some=some: self._places.renew(some))  # type: ignore[misc]

    async def share_frames(self) -> None:
        """Add up what busy callers send to all processes, and refuse those above the limit."""
        await asyncio.sleep(SHARE_SECONDS)
        for caller, number in self._frames.to_share(time.monotonic()):
            if total := await self._shared.ask(
                lambda caller=caller, number=number: self._shared.add(caller, number)  # type: ignore[misc]
            ):
                self._frames.note_total(caller, total, time.monotonic())


def _refused(words: str, seconds: float) -> RateLimited:
    return RateLimited(words, retry_after=math.ceil(seconds * 10) / 10)


class _Shared:
    """Redis, as far as it answers."""

    def __init__(self, url: str) -> None:
        self._left_alone_until = 0.0
        self.redis: Redis | None = None
        self.rates: MovingWindowRateLimiter | None = None
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
            self._storage = RedisStorage(
                f"async+{url.replace('unix://', 'redis+unix://', 1)}",
                implementation="redispy",
                key_prefix="agent.limits",
                connection_pool=pool,  # type: ignore[arg-type]
            )
            self.rates = MovingWindowRateLimiter(self._storage)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None when there is none in time."""
        if not self.redis or time.monotonic() < self._left_alone_until:
            return None
        try:
            async with asyncio.timeout(SHARED_SECONDS):
                return await question()
        except Exception as error:  # whatever Redis' client raises, RuntimeError of uvloop too
            log.warning("limits are counted here alone", error=type(error).__name__)
            self._left_alone_until = time.monotonic() + _LEFT_ALONE_SECONDS
            return None

    async def add(self, caller: str, number: int) -> int:
        """Count frames of a caller; returns those of all processes in the present window."""
        return await self._storage.incr(f"frames:{caller}", WINDOW_SECONDS, number)


class _Rate:
    """So many in any minute, here and, where Redis answers, over all processes."""

    def __init__(self, item: RateLimitItem, shared: _Shared) -> None:
        self._item = item
        self._shared = shared
        self._here = MovingWindowRateLimiter(MemoryStorage())

    async def hit(self, key: str) -> float:
        """Count one; returns 0, or the seconds to wait when it was refused and not counted."""
        if not await self._here.test(self._item, key):
            return await self._wait(self._here, key)
        everywhere = self._shared.rates
        if everywhere:
            wait = await self._shared.ask(lambda: self._hit(everywhere, key))
            if wait:
                return wait
        return await self._hit(self._here, key)

    async def _hit(self, rates: MovingWindowRateLimiter, key: str) -> float:
        return 0.0 if await rates.hit(self._item, key) else await self._wait(rates, key)

    async def _wait(self, rates: MovingWindowRateLimiter, key: str) -> float:
        stats = await rates.get_window_stats(self._item, key)
        return max(stats.reset_time - time.time(), 0.1)


_limits: WeakKeyDictionary[asyncio.AbstractEventLoop, Limits] = WeakKeyDictionary()


def limits() -> Limits:
    """The limits of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _limits.get(loop)
    if found is None:
        found = _limits[loop] = Limits(conf())
    return found
