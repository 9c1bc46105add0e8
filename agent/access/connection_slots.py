"""How many of something a caller or an address has at once: a place for each, here and in Redis.

Connections are counted over all processes. Redis has a sorted set for each caller and address, with
a member per connection, its score the end of its lease by Redis's clock. A process renews the
leases of its connections; those of one that died end by themselves, so nothing leaks, and what
Redis forgot comes back with the next renewal.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from redis.asyncio import Redis

LEASE_SECONDS = 15
RENEW_SECONDS = 5
#: Places renewed with one command, so that neither Redis nor the event loop is held up.
_PART = 200

_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "

_SHARE = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
)
_RENEW = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
    redis.call('EXPIRE', key, ARGV[1])
end
"""
)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One connection or request.

    Args:
        caller: whose it is; or an address.
        most: how many of them there may be.
        member: tells it from the others.
        beside: the place that it takes among those of its address.
    """

    caller: str
    most: int
    beside: Place | None = None
    member: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def key(self) -> str:
        return f"agent.connections:{self.caller}"


class Places:
    """The places that are taken in this process.

    Args:
        redis: counts over all processes, or None.
    """

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis
        self._here: dict[str, set[Place]] = {}
        if redis:
            self._share: Any = redis.register_script(_SHARE)
            self._renew: Any = redis.register_script(_RENEW)

    def take(self, caller: str, most: int, beside: Place | None = None) -> Place | None:
        """A place in this process, or None when the caller has all of its `most` places here."""
        held = self._here.setdefault(caller, set())
        if len(held) >= most:
            return None
        place = Place(caller, most, beside)
        held.add(place)
        return place

    def forget(self, place: Place) -> None:
        """Give a place in this process back; harmless when repeated."""
        held = self._here.get(place.caller, set())
        held.discard(place)
        if not held:
            self._here.pop(place.caller, None)

    def parts(self) -> Iterator[list[Place]]:
        """All places, in parts for `renew`."""
        everything = iter([place for held in self._here.values() for place in held])
        while some := list(islice(everything, _PART)):
            yield some

    # in Redis

    async def share(self, place: Place) -> bool:
        """Take the place over all processes; whether there was one."""
        return bool(
            await self._share(keys=[place.key], args=[place.most, LEASE_SECONDS, place.member])
        )

    async def unshare(self, place: Place) -> None:
        if self._redis:
            await self._redis.zrem(place.key, place.member)

    async def renew(self, places: list[Place]) -> None:
        """Prolong leases, and restore those that Redis lost."""
        still = [place for place in places if place in self._here.get(place.caller, ())]
        await self._renew(
            keys=[place.key for place in still],
            args=[LEASE_SECONDS, *(place.member for place in still)],
        )
