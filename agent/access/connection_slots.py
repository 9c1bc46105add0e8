"""Counts what a caller or an address has at once: one slot for each, here and in Redis.

Connections are counted over all processes. Redis has a sorted set for each caller and address, with
a member per connection; its score is the end of its lease by Redis's clock. A process renews the
leases of its connections. The leases of a dead process expire, so no slot leaks, and slots that
Redis lost come back with the next renewal.
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
#: Slots that one command renews, so that it blocks neither Redis nor the event loop.
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
class Slot:
    """The slot of one connection or request.

    Args:
        caller: the caller or address that has it.
        most: how many slots the caller may have.
        beside: the slot of its address, which is taken and released with it.
        member: its identity in Redis.
    """

    caller: str
    most: int
    beside: Slot | None = None
    member: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def key(self) -> str:
        return f"agent.connections:{self.caller}"


class Slots:
    """The slots that are taken in this process.

    Args:
        redis: where they are counted over all processes, or None.
    """

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis
        self._here: dict[str, set[Slot]] = {}
        if redis:
            self._share: Any = redis.register_script(_SHARE)
            self._renew: Any = redis.register_script(_RENEW)

    def take(self, caller: str, most: int, beside: Slot | None = None) -> Slot | None:
        """Take a slot in this process; returns None when the caller has `most` here already."""
        taken = self._here.setdefault(caller, set())
        if len(taken) >= most:
            return None
        slot = Slot(caller, most, beside)
        taken.add(slot)
        return slot

    def forget(self, slot: Slot) -> None:
        """Release a slot in this process; may be repeated."""
        taken = self._here.get(slot.caller, set())
        taken.discard(slot)
        if not taken:
            self._here.pop(slot.caller, None)

    def parts(self) -> Iterator[list[Slot]]:
        """Yield all slots, in parts for `renew`."""
        everything = iter([slot for taken in self._here.values() for slot in taken])
        while part := list(islice(everything, _PART)):
            yield part

    # in Redis

    async def share(self, slot: Slot) -> bool:
        """Take the slot over all processes; returns whether one was free."""
        return bool(
            await self._share(keys=[slot.key], args=[slot.most, LEASE_SECONDS, slot.member])
        )

    async def unshare(self, slot: Slot) -> None:
        if self._redis:
            await self._redis.zrem(slot.key, slot.member)

    async def renew(self, slots: list[Slot]) -> None:
        """Renew leases, and restore those that Redis lost."""
        still = [slot for slot in slots if slot in self._here.get(slot.caller, ())]
        await self._renew(
            keys=[slot.key for slot in still],
            args=[LEASE_SECONDS, *(slot.member for slot in still)],
        )
